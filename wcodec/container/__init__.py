"""The .wcz file as in `formats/wcz.md` sections 1 to 3: records in an index, sections of bytes, a model section."""
