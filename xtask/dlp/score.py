"""Judges what each tool found in the corpus."""

import collections
import json
import pathlib

PACKS = ["secrets", "payment", "pii", "network"]
CLEAN = ["prose", "source", "tools", "lookalike"]


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def airlock(directory, corpus):
    """Findings in characters, with the pack of each detector."""
    packs = {}
    root = pathlib.Path(__file__).resolve().parents[2]
    for file in (root / "policies/dlp").glob("*.yaml"):
        for line in file.read_text().splitlines():
            if line.startswith("  - name: "):
                packs[line.removeprefix("  - name: ")] = file.stem
    found = {}
    for entry, answer in zip(corpus, read(directory / "airlock.jsonl"), strict=True):
        data = entry["text"].encode()
        place = lambda at: len(data[:at].decode(errors="replace"))
        found[entry["id"]] = [
            (place(start), place(end), packs[name], name) for name, start, end in answer["hits"]
        ]
    return found


def other(directory, tool):
    return {entry["id"]: [tuple(hit) for hit in entry["hits"]] for entry in read(directory / f"{tool}.jsonl")}


def overlap(a, b):
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def covered(span, hits):
    """The share of a span that the hits cover together."""
    inside = {place for hit in hits for place in range(max(span[0], hit[0]), min(span[1], hit[1]))}
    return len(inside) / (span[1] - span[0])


def merged(hits):
    """Findings that overlap are one: the first, and of those that begin together the longest."""
    last = None
    for hit in sorted(hits, key=lambda hit: (hit[0], -hit[1])):
        if last is None or hit[0] >= last:
            yield hit
            last = hit[1]


class Score:
    """Counts of one tool."""

    def __init__(self):
        self.found, self.missed = collections.Counter(), collections.Counter()
        self.right, self.false = collections.Counter(), collections.Counter()
        self.alarms = collections.Counter()
        self.misses, self.wrong = [], []


def score(corpus, found, is_real, share, pack_of):
    """`share` is how much of a planted value a finding must cover."""
    result = Score()
    for entry in corpus:
        hits, spans = found.get(entry["id"], []), entry["spans"]
        for start, end, detector, claimed in spans:
            if not claimed:
                continue
            near = [hit for hit in hits if hit[2] == pack_of[detector] and overlap(hit, (start, end))]
            is_found = near and covered((start, end), near) >= share
            (result.found if is_found else result.missed)[detector] += 1
            if not is_found:
                result.misses.append((detector, entry["text"], entry["text"][start:end]))
        for hit in merged(hits):
            if any(overlap(hit, span) for span in spans):
                result.right[hit[3]] += 1
            elif is_real(entry, hit):
                result.right[hit[3]] += 1
            else:
                result.false[hit[3]] += 1
                result.alarms[entry["class"], hit[2]] += 1
                result.wrong.append(
                    (
                        entry["class"],
                        entry["name"],
                        hit[3],
                        entry["text"][max(0, hit[0] - 60) : hit[0]],
                        entry["text"][hit[0] : hit[1]],
                        entry["text"][hit[1] : hit[1] + 30],
                    )
                )
    return result
