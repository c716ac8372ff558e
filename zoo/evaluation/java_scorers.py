"""The scorers that need Java: METEOR, SPICE and COCO's PTB tokeniser, each in its own process.

pycocoevalcap talks to Java over pipes, with a lock that a failed call never gives back, so a
broken Java hangs whoever called it. Here this file runs itself as a script in a process of its
own, with a time limit, and every failure arrives as a `JavaError` with its reason. The script
imports nothing of zoo: it starts in a fraction of a second.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

PROBE_SECONDS = 20  # `java -version` takes a tenth of one
START_SECONDS = 180  # METEOR reads 60 MB of paraphrases, SPICE a parser, before the first caption
SECONDS_PER_IMAGE = 0.5  # METEOR takes 0.01, SPICE up to 0.2
SPICE_MODELS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")


class JavaError(Exception):
    """Says in one line why a scorer gave no result."""


def meteor(references, hypotheses):
    """Gives METEOR of captions that are words joined by spaces; takes dicts keyed by image."""
    return float(_run("meteor", references, hypotheses))


def spice(references, hypotheses):
    """Gives SPICE of captions that are words joined by spaces; takes dicts keyed by image."""
    # `Spice()` downloads what it does not find, so it is never called without the files.
    package = importlib.util.find_spec("pycocoevalcap.spice").submodule_search_locations[0]
    absent = [name for name in SPICE_MODELS if not os.path.isfile(f"{package}/lib/{name}")]
    if absent:
        raise JavaError(f"no {' and no '.join(absent)} in pycocoevalcap/spice/lib")
    return float(_run("spice", references, hypotheses))


def ptb_words(references, hypotheses):
    """Gives references and hypotheses as COCO's tokeniser splits them, keyed as they came."""
    references_out, hypotheses_out = _run("ptb_words", references, hypotheses)
    return dict(zip(references, references_out, strict=True)), dict(
        zip(references, hypotheses_out, strict=True)
    )


def _run(tool, references, hypotheses):
    """Runs `tool` of this file as a script and gives its answer."""
    if shutil.which("java") is None:
        raise JavaError("no Java found")
    try:
        probe = ["java", "-version"]
        subprocess.run(probe, capture_output=True, timeout=PROBE_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise JavaError(f"Java does not run: {error}") from None
    request = [list(references.values()), [hypotheses[key] for key in references]]
    limit = START_SECONDS + SECONDS_PER_IMAGE * len(references)
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-P", os.path.abspath(__file__), tool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,  # for its files, which would stay behind where it is ended
            text=True,
            start_new_session=True,  # so that it and its Java can be ended together
        ) as process,
    ):
        try:
            output, complaints = process.communicate(json.dumps(request), timeout=limit)
        except BaseException as error:  # also Ctrl-C, which does not reach another session
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise JavaError(f"Java gave no answer in {limit:.0f} seconds") from None
            raise
    if process.returncode != 0:
        reason = complaints.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        raise JavaError(f"it broke off: {reason[0]}")
    answer = json.loads(output.splitlines()[-1])  # Java may have printed before it
    if "error" in answer:
        raise JavaError(answer["error"])
    return answer["result"]


def _script_meteor(references, hypotheses):
    from pycocoevalcap.meteor.meteor import Meteor

    scorer = Meteor()
    try:
        score, _ = scorer.compute_score(*_by_number(references, hypotheses))
        return score
    except (OSError, ValueError) as error:
        scorer.meteor_p.kill()
        complaints = scorer.meteor_p.stderr.read().decode(errors="replace").strip()
        raise RuntimeError(f"METEOR broke off: {complaints[-200:] or error}") from None
    finally:
        if scorer.lock.locked():
            scorer.lock.release()  # its `__del__` would wait for it for ever


def _script_spice(references, hypotheses):
    from pycocoevalcap.spice import spice

    spice.TEMP_DIR = spice.CACHE_DIR = os.getcwd()  # not in the package, which may be read-only
    score, _ = spice.Spice().compute_score(*_by_number(references, hypotheses))
    return score


def _script_ptb_words(references, hypotheses):
    from pycocoevalcap.tokenizer import ptbtokenizer

    # It writes beside itself, and that is a package, which may be read-only.
    jar = ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR
    package = os.path.dirname(os.path.abspath(ptbtokenizer.__file__))
    ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR = os.path.join(package, jar)
    ptbtokenizer.__file__ = os.path.abspath("ptbtokenizer.py")
    # It goes by lines, and knows more line ends than "\n": one of them would shift every later
    # caption to another image.
    captions = {
        number: [{"caption": " ".join(caption.split())} for caption in (hypothesis, *captions)]
        for number, (captions, hypothesis) in enumerate(zip(references, hypotheses, strict=True))
    }
    words = ptbtokenizer.PTBTokenizer().tokenize(captions)
    if {n: len(c) for n, c in words.items()} != {n: len(c) for n, c in captions.items()}:
        raise RuntimeError("the PTB tokeniser lost captions")
    if not any(word for n in captions for word in words[n][1:]):
        raise RuntimeError("the PTB tokeniser found no word in any reference")
    return [words[n][1:] for n in captions], [words[n][0] for n in captions]


def _by_number(references, hypotheses):
    return dict(enumerate(references)), {n: [text] for n, text in enumerate(hypotheses)}


if __name__ == "__main__":
    tool = {"meteor": _script_meteor, "spice": _script_spice, "ptb_words": _script_ptb_words}
    try:
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"result": tool[sys.argv[1]](*json.load(sys.stdin))}
    except Exception as error:
        answer = {"error": " ".join(f"{error}".split()) or type(error).__name__}
    print(json.dumps(answer))
