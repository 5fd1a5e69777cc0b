"""word_frequency: the most frequent words of a text.

The tool contract: one JSON object of parameters as the first argument, else on standard input, else in
the variable PARAMETERS; one JSON object on standard output; exit code 0 for success, 1 for an error.
"""

import collections
import json
import os
import re
import sys


def parameters():
    """The first source that is not blank."""
    if len(sys.argv) > 1 and sys.argv[1].strip():
        return json.loads(sys.argv[1])
    return json.loads(sys.stdin.read().strip() or os.environ.get("PARAMETERS") or "{}")


def word_frequency(text, limit=10, min_length=1):
    """The `limit` most frequent words of at least `min_length` letters, ties in alphabetical order."""
    words = (word for word in re.findall(r"[^\W\d_]+", text.lower()) if len(word) >= min_length)
    ranked = sorted(collections.Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return [{"word": word, "count": count} for word, count in ranked[:limit]]


def answer(body, code):
    """Prints the one object of the answer and ends."""
    print(json.dumps(body, ensure_ascii=False))
    sys.exit(code)


def main():
    if sys.argv[1:] == ["--health-check"]:
        answer({"success": True, "result": "healthy"}, 0)
    try:
        given = parameters()
        result = word_frequency(
            str(given["text"]), int(given.get("limit", 10)), int(given.get("min_length", 1))
        )
    except KeyError as error:
        answer({"success": False, "error": f"the parameter {error} is missing"}, 1)
    except (TypeError, ValueError, AttributeError) as error:
        answer({"success": False, "error": f"the parameters do not fit: {error}"}, 1)
    answer({"success": True, "result": result}, 0)


if __name__ == "__main__":
    main()
