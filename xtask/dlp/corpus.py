"""Writes the texts that are measured: `corpus.py DIRECTORY [--count=N] [--prose=MIB] [--source=MIB] [--seed=S]`.
The same seed, lock and host give the same texts. Each line of corpus.jsonl has an id, a class, a text and the
spans `[start, end, detector, claimed]` in characters."""

import json
import pathlib
import random
import sys

import clean
import keys
import money
import people
import registers
import shapes
import structures
import wording

SEED = "airlock"


def planted(count):
    """Texts with something in them: class, text, spans."""
    for shape in shapes.SHAPES:
        rng = random.Random(f"{SEED}{shape.detector}{shape.name}{shapes.SHAPES.index(shape)}")
        for _ in range(count):
            text, spans = wording.worded(rng, shape, shape.make(rng))
            yield "secrets", text, [[*span, shape.detector, True] for span in spans]
    for detector, function in structures.STRUCTURES + keys.KEYS:
        rng = random.Random(SEED + detector)
        for _ in range(2 * count):
            text, spans = structures.make(rng, function)
            yield "secrets", text, [[*span, detector, True] for span in spans]
    for detector, function in money.MONEY:
        rng = random.Random(SEED + detector)
        for _ in range(4 * count):
            text, spans = function(rng)
            yield "payment", text, [[*span, detector, True] for span in spans]
    for place, number in enumerate(registers.NUMBERS):
        rng = random.Random(f"{SEED}{number.detector}{place}")
        for _ in range(count):
            text, spans = registers.worded(rng, number)
            yield "pii", text, [[*span, number.detector, True] for span in spans]
    for locale, faker, rng in people.fakers(SEED):
        for _ in range(count):
            record = people.person(rng, faker, locale)
            yield "pii", record.text, record.spans
    rng = random.Random(SEED)
    for make in (
        people.abroad,
        people.passport,
        lambda rng: people.machine_readable(rng, False),
        lambda rng: people.machine_readable(rng, True),
    ):
        for _ in range(2 * count):
            record = make(rng)
            yield "pii", record.text, record.spans
    for make in (people.address, people.address_v6, people.hardware):
        for _ in range(2 * count):
            record = make(rng)
            yield "network", record.text, record.spans


def texts(count, prose, source, root):
    yield from planted(count)
    for _, faker, rng in people.fakers(SEED + "look"):
        for _ in range(count):
            yield "lookalike", clean.lookalikes(rng, faker), []
    for name, text in clean.prose(prose):
        yield "prose", text, [], name
    for name, text in clean.source(source, root / "Cargo.lock"):
        yield "source", text, [], name
    for name, text in clean.tools(root / "target/tools"):
        yield "tools", text, [], name


def main():
    directory = pathlib.Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    global SEED
    options = dict(option.lstrip("-").split("=") for option in sys.argv[2:])
    root = pathlib.Path(__file__).resolve().parents[2]
    SEED = options.get("seed", SEED)
    sizes = {}
    with open(directory / "corpus.jsonl", "w") as out:
        for at, (kind, text, spans, *name) in enumerate(
            texts(
                int(options.get("count", 12)),
                int(float(options.get("prose", 2)) * 2**20),
                int(float(options.get("source", 4)) * 2**20),
                root,
            )
        ):
            sizes[kind] = sizes.get(kind, 0) + len(text.encode())
            print(
                json.dumps(
                    {"id": at, "class": kind, "name": name[0] if name else "", "text": text, "spans": spans}
                ),
                file=out,
            )
    print(" ".join(f"{kind} {size / 2**20:.2f} MiB" for kind, size in sizes.items()))


if __name__ == "__main__":
    main()
