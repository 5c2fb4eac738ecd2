"""What README and the guide take from benchmarks/results: a block of figures, and a picture."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from wcodec.reporting import svg
from wcodec.reporting.html_page import STYLE

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
RECORDS = "../../samples/records/README.md"
BLOCK = re.compile(r"(?<=<!-- figures: begin -->\n).*?(?=<!-- figures: end -->)", re.S)
Row = dict[str, str]


def read(page: str) -> str:
    """A page of results."""
    return (RESULTS / page).read_text("utf-8")


def tables(page: str) -> Iterator[Row]:
    """The rows of all tables of a page, by their columns' headings."""
    head: list[str] = []
    for line in read(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            head = []
        elif not head:
            head = cells
        elif not set(cells[0]) <= set("-: "):
            yield dict(zip(head, cells, strict=False))


def find(page: str, **wanted: str) -> Row:
    """The first row with those cells. Raises: StopIteration where there is none."""
    return next(row for row in tables(page) if all(row.get(key) == value for key, value in wanted.items()))


def readme(text: str) -> str:
    """README with the block of figures as the results have it."""
    return BLOCK.sub(lambda _: "\n".join([*figures(), ""]), text)


def figures() -> Iterator[str]:
    """The block's lines."""
    rows = [line for line in read("samples.md").splitlines() if line.startswith("|")]
    yield "Accuracy on the 10,000 MNIST test images (`python benchmarks/samples_table.py`):"
    yield ""
    yield from rows
    yield ""
    yield from wrap(records(), classic(), slimmed(), standard(), budgets(), speed())


def wrap(*sentences: str) -> Iterator[str]:
    """A list of sentences in lines of at most 120 characters."""
    for sentence in sentences:
        yield from textwrap.wrap(f"- {sentence}", 120, subsequent_indent="  ", break_on_hyphens=False)


def records() -> str:
    """Sizes of the networks that `make records` trains."""
    found = sorted((number(row["file bytes"]), row["file bytes"]) for row in tables(RECORDS) if "file bytes" in row)
    return (
        "Networks that are trained for compression are smaller still: [samples/records/](samples/records/README.md) "
        f"has LeNets and a small CNN of {found[0][1]} to {found[-1][1]} file bytes (`make records`)."
    )


def classic() -> str:
    """Deep Compression, beside the paper's figures."""
    ours = [row for row in tables("deep_compression.md") if row.get("") == "here"]
    papers = [row for row in tables("deep_compression.md") if row.get("") == "the paper"]
    said = [
        f"{name} in {one['bytes']} bytes at an error of {one['after']} (the paper: {paper['bytes']}, {paper['after']})"
        for name, one, paper in zip(("LeNet-300-100", "LeNet-5"), ours, papers, strict=True)
    ]
    return (
        f"`--preset deep-compression` with retraining, by Huffman codes alone: {', '.join(said)} "
        "([the commands, stage by stage](benchmarks/results/deep_compression.md))."
    )


def standard() -> str:
    """Beside the ISO standard's codec, and without loss."""
    means = [line.split(": ")[1] for line in read("nncodec.md").splitlines() if line.startswith("Geometric mean")]
    exact = [row["wcodec"].split()[0] for row in tables("lossless.md") if row.get("set", "").endswith("float32")]
    return (
        f"At the same relative error of the weights, whole files take {means[0]} times the bytes of the ISO standard's "
        "codec (NNCodec 0.3.1; [five models, three errors](benchmarks/results/nncodec.md)). Without any loss, float32 "
        f"files take {min(exact)} to {max(exact)} % of their size "
        "([beside zipnn, zstd and xz](benchmarks/results/lossless.md))."
    )


def budgets() -> str:
    """How often calibrated files lost more accuracy on test images than the budget."""
    files, _, lost = " ".join(read("budgets.md").split("\n\n")[-1].split()).removesuffix(".").partition(", ")
    return (
        f"{files}, encoded with `--data` and without labels for a drop of at most 1, 0.5 or 0.2 points on "
        f"10,000 test images, {lost} ([what was predicted](benchmarks/results/budgets.md))."
    )


def speed() -> str:
    """CPU seconds of HED's file, wcodec's and gzip's."""
    coded = find("speed.md", command="wcodec --preset small, one thread, in")
    back = find("speed.md", command="wcodec --preset small, one thread, out")
    gzip, gunzip = find("speed.md", command="gzip -9"), find("speed.md", command="gunzip")
    return (
        f"On one core, a file of {megabytes(gunzip)} MB (HED) is encoded to {megabytes(coded)} MB in "
        f"{coded['CPU s']} s and decoded in {back['CPU s']} s (`--preset small`); gzip -9 encodes it to "
        f"{megabytes(gzip)} MB in {gzip['CPU s']} s, gunzip decodes that in "
        f"{gunzip['CPU s']} s ([speed](benchmarks/results/speed.md))."
    )


def number(text: str) -> int:
    """58,945,960 as an integer."""
    return int(text.replace(",", ""))


def megabytes(row: Row) -> str:
    """Of the file that a command wrote."""
    return f"{number(row['file bytes written']) / 1e6:.1f}"


def embeddings() -> str:
    """An SVG: bits a weight against 1 - cosine of MiniLM's embeddings, a curve a coder."""
    names = ("wcodec, with moments", "wcodec", "GGUF, importance matrix", "GGUF", "plain rounding")
    points: dict[str, list[svg.Mark]] = {name: [] for name in names}
    for row in tables("embeddings.md"):
        coder, bits, lost = row["coder"], float(row["bits a weight"]), float(row["1 - cosine, mean"])
        important = coder.endswith(("importance matrix", "--moments"))
        family = coder.split()[0] if coder.startswith(("wcodec", "GGUF")) else "plain rounding"
        suffix = {"wcodec": ", with moments", "GGUF": ", importance matrix"}[family] if important else ""
        if lost < 0.3:
            points[family + suffix].append((bits, lost, "", coder))
    series = [svg.Series(name, colour, sorted(points[name])) for colour, name in enumerate(names, 1)]
    every = [mark for one in series for mark in one.marks]
    across = svg.Axis("bits a weight", 0, max(mark[0] for mark in every) * 1.15, "{:g}".format, logarithmic=False)
    up = svg.make_log_axis("1 - cosine to the original's embedding", [mark[1] for mark in every], "{:g}".format)
    return standalone(svg.draw_curve("MiniLM: size against what embeddings lose", across, up, series), names)


def kept_budgets() -> str:
    """An SVG: the points that were predicted against those that test images lost, a colour a budget."""
    rows = [row for row in tables("budgets.md") if "predicted" in row]
    asked = sorted({row["asked, points"] for row in rows}, key=float)
    found = [
        (row, float(predicted), float(lost))
        for row in rows
        for predicted, lost in zip(row["predicted"].split(", "), row["lost on test images"].split(", "), strict=True)
        if predicted != "-"
    ]
    most = max(max(predicted, lost) for _, predicted, lost in found) * 1.1
    least = min(0.0, *(lost for *_, lost in found)) * 1.1
    series = [svg.Series("as predicted", len(asked) + 1, [(0, 0, "", ""), (most, most, "", "")])]
    for row, predicted, lost in found:
        told = f"{row['network']}: {row['asked, points']} asked, {predicted:.2f} predicted, {lost:.2f} lost"
        colour = asked.index(row["asked, points"]) + 1
        series.append(svg.Series("", colour, [(predicted, lost, "", told)]))
    across = svg.Axis("points of accuracy, predicted without labels", 0, most, "{:g}".format, logarithmic=False)
    up = svg.Axis("points lost on test images", least, most, "{:g}".format, logarithmic=False)
    names = [*(f"{one} points asked" for one in asked), "as predicted"]
    return standalone(svg.draw_curve("What budgets of accuracy come to", across, up, series), names, top=20)


def slimmed_files() -> Iterator[tuple[str, str, int, float]]:
    """Network, "whole" or "half" of its units, file bytes, and percent of the test images."""
    network = ""
    for line in read("slim_comparisons.md").splitlines():
        if begin := re.match(r"(\w+): whole", line):
            network = begin[1]
        elif row := re.match(r"\| (whole|half) \| \S+ \| ([\d,]+) \| ([\d.]+) \|", line):
            yield network, row[1], number(row[2]), float(row[3])


def slimmed() -> str:
    """Bytes of networks with half of their units that are at least as good as the whole network's best file."""
    said = []
    for network in dict.fromkeys(one[0] for one in slimmed_files()):
        every = {part: [one for one in slimmed_files() if one[:2] == (network, part)] for part in ("whole", "half")}
        best = max(every["whole"], key=lambda one: one[3])
        found = min((one for one in every["half"] if one[3] >= best[3]), key=lambda one: one[2])
        said.append(f"{found[2]:,} bytes at {found[3]:.2f} % in place of {best[2]:,} bytes at {best[3]:.2f} %")
    return (
        "On Fashion-MNIST, networks without half of their units, trained for 4 epochs before they are encoded with "
        f"data, take fewer bytes at no less accuracy: LeNet-300-100 takes {said[0]}, a small CNN {said[1]} "
        "([curves](docs/slimming.md), [tables](benchmarks/results/slim_comparisons.md))."
    )


def slim_curves() -> str:
    """An SVG: bytes against the accuracy of decoded networks, whole and slimmed to half of their units."""
    points: dict[str, list[svg.Mark]] = {}
    for network, part, nbytes, accuracy in slimmed_files():
        told = f"{network}, {part}: {nbytes:,} bytes, {accuracy:.2f} %"
        points.setdefault(f"{network}, {part}", []).append((nbytes, accuracy, "", told))
    names = list(points)
    every = [mark for marks in points.values() for mark in marks]
    across = svg.make_log_axis("file bytes", [mark[0] for mark in every], "{:,.0f}".format)
    low, high = min(mark[1] for mark in every), max(mark[1] for mark in every)
    up = svg.Axis("% of the test images", low - 0.5, high + 0.2, "{:.1f}".format, logarithmic=False)
    series = [svg.Series(name, colour, sorted(points[name])) for colour, name in enumerate(names, 1)]
    return standalone(
        svg.draw_curve("Whole networks and half of their units, coded with data", across, up, series), names
    )


def standalone(picture: str, names: Sequence[str], top: int = 210) -> str:
    """A picture as a file of its own, with its styles and a legend. top: where that begins, in pixels."""
    picture = re.sub(r"^<div[^>]*>|</div>$", "", picture).replace("</svg>", f"{legend(names, top)}</svg>")
    colours = "".join(
        re.findall(r":root \{.*?\n\}", STYLE, re.S)[:1] + re.findall(r"@media[^@]*?\}\s*\}", STYLE, re.S)[:1]
    )
    rules = "\n".join(line for line in STYLE.splitlines() if line.startswith((".", "svg")) and "main" not in line)
    return picture.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="860" height="400" ', 1).replace(
        "<title>",
        f"<style>{colours}{rules} svg {{ background: var(--card); font-family: sans-serif }}</style><title>",
        1,
    )


def legend(names: Sequence[str], top: int) -> str:
    """A dot and a name for each series, where the picture has no points."""
    rows = ((colour, top + 22 * colour, name) for colour, name in enumerate(names, 1))
    return "".join(
        f'<circle class="f{colour}" cx="110" cy="{y - 4}" r="5"/><text class="name" x="122" y="{y}">{name}</text>'
        for colour, y, name in rows
    )
