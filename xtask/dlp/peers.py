"""Runs one other tool over the corpus: `peers.py DIRECTORY gitleaks|detect-secrets|presidio`. Each line of its
output has the findings `[start, end, pack, name, score]` of one text, in characters."""

import json
import pathlib
import subprocess
import sys
import tempfile

from score import read


def places(text, secret, line=None):
    """Where a secret stands that a tool names by its letters and perhaps its line."""
    start = 0
    if line:
        for _ in range(line - 1):
            start = text.find("\n", start) + 1
    at = text.find(secret, start)
    if at < 0:
        at = text.find(secret)
    return None if at < 0 or not secret else (at, at + len(secret))


def files(corpus, directory):
    for entry in corpus:
        path = directory / f"{entry['id']}.txt"
        path.write_text(entry["text"])
        yield entry, path


def gitleaks(corpus):
    """Its own rules as they are, over files."""
    program = pathlib.Path(sys.executable).parent / "gitleaks"
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        texts = {path.name: entry for entry, path in files(corpus, directory)}
        report = directory.parent / f"{directory.name}.json"
        subprocess.run(
            [
                program,
                "dir",
                directory,
                "--report-format=json",
                f"--report-path={report}",
                "--no-banner",
                "--exit-code=0",
                "--log-level=error",
            ],
            check=True,
        )
        found = {}
        for finding in json.loads(report.read_text()):
            entry = texts[pathlib.Path(finding["File"]).name]
            place = places(entry["text"], finding["Secret"], finding["StartLine"])
            if place:
                found.setdefault(entry["id"], []).append([*place, "secrets", finding["RuleID"], 1])
        report.unlink()
    return found


def detect_secrets(corpus):
    """All its plugins and filters as they are by default."""
    from detect_secrets.core.scan import scan_file
    from detect_secrets.settings import default_settings

    found = {}
    with tempfile.TemporaryDirectory() as name, default_settings():
        for entry, path in files(corpus, pathlib.Path(name)):
            for secret in scan_file(str(path)):
                place = places(entry["text"], secret.secret_value, secret.line_number)
                if place:
                    pack = "network" if secret.type == "Public IP (ipv4)" else "secrets"
                    found.setdefault(entry["id"], []).append([*place, pack, secret.type, 1])
    return found


# Its entities that a pack of ours has too; findings of others are not counted against it.
ENTITIES = {
    "payment": {"CREDIT_CARD", "IBAN_CODE", "CRYPTO", "US_BANK_NUMBER", "ABA_ROUTING_NUMBER"},
    "network": {"IP_ADDRESS", "MAC_ADDRESS"},
    "secrets": set(),
    "other": {
        "DATE_TIME",
        "URL",
        "PERSON",
        "LOCATION",
        "ORGANIZATION",
        "NRP",
        "MEDICAL_LICENSE",
        "US_DRIVER_LICENSE",
        "IT_DRIVER_LICENSE",
        "UK_DRIVING_LICENCE",
        "AU_ABN",
        "AU_ACN",
        "IT_VAT_CODE",
        "PL_REGON",
        "SG_UEN",
    },
}


def presidio(corpus):
    """Every recogniser by pattern that it has, of all countries, in English, with the words that raise a score.
    No model of a language can be had from the registry of packages, so names and places are out of the
    comparison; a pipeline that only splits words stands in for it."""
    import spacy
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    import presidio_analyzer.predefined_recognizers as all_recognizers
    from presidio_analyzer import PatternRecognizer, LocalRecognizer

    # The list of domains that it brings along, since measurements do not use the network.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())

    class Splitter(SpacyNlpEngine):
        def __init__(self):
            super().__init__()
            blank = spacy.blank("en")
            blank.max_length = 10**7

            @spacy.Language.component("lower")
            def lower(doc):
                for token in doc:
                    token.lemma_ = token.lower_
                return doc

            blank.add_pipe("lower")
            self.nlp = {"en": blank}

        def load(self):
            pass

    registry = RecognizerRegistry(supported_languages=["en"])
    skipped = []
    for name in sorted(set(all_recognizers.__all__)):
        kind = getattr(all_recognizers, name)
        if (
            not isinstance(kind, type)
            or not issubclass(kind, LocalRecognizer)
            or not (issubclass(kind, PatternRecognizer) or name == "PhoneRecognizer")
        ):
            continue
        try:
            registry.add_recognizer(kind(supported_language="en"))
        except (TypeError, ValueError, ImportError, OSError) as error:
            skipped.append(f"{name}: {error}")
    if skipped:
        print("without", "; ".join(skipped), file=sys.stderr)
    print(len(registry.recognizers), "recognisers", file=sys.stderr)
    engine = AnalyzerEngine(registry=registry, nlp_engine=Splitter(), supported_languages=["en"])
    pack_of = {entity: pack for pack, entities in ENTITIES.items() for entity in entities}
    found = {}
    for entry in corpus:
        for result in engine.analyze(text=entry["text"], language="en"):
            pack = pack_of.get(result.entity_type, "pii")
            found.setdefault(entry["id"], []).append(
                [result.start, result.end, pack, result.entity_type, round(result.score, 2)]
            )
    return found


TOOLS = {"gitleaks": gitleaks, "detect-secrets": detect_secrets, "presidio": presidio}


def main():
    directory, tool = pathlib.Path(sys.argv[1]), sys.argv[2]
    corpus = read(directory / "corpus.jsonl")
    found = TOOLS[tool](corpus)
    with open(directory / f"{tool}.jsonl", "w") as out:
        for entry in corpus:
            print(json.dumps({"id": entry["id"], "hits": found.get(entry["id"], [])}), file=out)


if __name__ == "__main__":
    main()
