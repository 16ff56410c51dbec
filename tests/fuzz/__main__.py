"""`make fuzz`: search for input that breaks a promise, for some minutes."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import sys
import time
from pathlib import Path

from tests.fuzz.corpus import mutations, seeds

HOME = Path(__file__).resolve().parents[2] / ".fuzz"
WORDS = ("connectorId", "idTag", "meterStart", "timestamp", "sampledValue", "measurand", "transactionId",
         "value", "unit", "phase", "context", "status", "Heartbeat", "MeterValues", "StartTransaction",
         "StopTransaction", "StatusNotification", "BootNotification", "configurationKey")  # fmt: skip


def by_coverage(seconds: int) -> None:
    """Let atheris look for input that reaches new branches; ends the process."""
    import atheris  # noqa: PLC0415 - it is there on some platforms only

    with atheris.instrument_imports(include=["voltyard"]):
        from tests.fuzz import targets  # noqa: PLC0415 - instrumented while it is imported
    corpus = HOME / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (corpus / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words = HOME / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    arguments = [f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={HOME}/", "-max_len=4096"]
    atheris.Setup([sys.argv[0], str(corpus), *arguments, "-print_final_stats=1"], targets.one_input)
    atheris.Fuzz()


def by_mutation(seconds: float, seed: int) -> None:
    """Change the seeds at random."""
    from tests.fuzz import targets  # noqa: PLC0415 - not needed where atheris instruments it

    end = time.monotonic() + seconds
    for count, data in enumerate(mutations(seed)):
        if count % 100 == 0 and time.monotonic() > end:
            print(f"{count} inputs, seed {seed}: nothing found")
            return
        try:
            targets.one_input(data)
        except BaseException:
            HOME.mkdir(exist_ok=True)
            (HOME / f"crash-{hashlib.sha1(data).hexdigest()}").write_bytes(data)
            print(f"seed {seed}, input {count}: {data!r}")
            raise


def main() -> None:
    """Search for SECONDS."""
    seconds = int(os.environ.get("SECONDS", "600"))
    if importlib.util.find_spec("atheris") and not os.environ.get("SEED"):
        by_coverage(seconds)
    else:
        by_mutation(seconds, int(os.environ.get("SEED", "1")))


if __name__ == "__main__":
    for part in itertools.islice(sys.argv, 1, None):
        sys.exit(f"unknown: {part}; set SECONDS and SEED in the environment")
    main()
