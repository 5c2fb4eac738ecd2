"""The .wcz file of `formats/wcz.md` sections 1 to 3: an index of records, sections of bytes, and a model section."""
