"""Writes a small corpus that the tests of the scanner keep: `freeze.py FILE`. Each line is JSON: a text in which
each value stands between `»` and `«`, and the detectors that claim the values. The character `¦` within secrets
is to be taken out; it keeps scanners of repositories quiet."""

import json
import pathlib
import random
import sys

import clean
import corpus
import people


def broken(value):
    """A value with breaks in it."""
    return "¦".join((value[:3], value[3 : len(value) // 2 + 2], value[len(value) // 2 + 2 :]))


def marked(kind, text, spans):
    parts, at = [], 0
    for start, end, *_ in sorted(spans):
        value = text[start:end]
        parts += [text[at:start], "»", broken(value) if kind == "secrets" else value, "«"]
        at = end
    return "".join(parts) + text[at:]


def main():
    seen, lines = {}, []
    for kind, text, spans in corpus.planted(2):
        spans = [span for span in spans if span[3]]
        if not spans or any(mark in text for mark in "»«¦"):
            continue
        if all(seen.get(span[2], 0) >= 4 for span in spans):
            continue
        for span in spans:
            seen[span[2]] = seen.get(span[2], 0) + 1
        lines.append({"text": marked(kind, text, spans), "detectors": [span[2] for span in sorted(spans)]})
    for _, faker, rng in people.fakers("frozen"):
        for _ in range(6):
            text = clean.lookalikes(rng, faker)
            if not any(mark in text for mark in "»«¦"):
                lines.append({"text": text, "detectors": []})
    random.Random(corpus.SEED).shuffle(lines)
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    pathlib.Path(sys.argv[1]).write_text(text + "\n")


if __name__ == "__main__":
    main()
