"""Two kinds of error. `UserError`: what a person asked cannot be done, and how to mend it.

What we did wrong is an `assert`; what the world does (a node dies) is no error at all but an input.
"""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Names the field, the value, the problem and the remedy.

    `status` is the HTTP status the REST edge answers with; the CLI exits with 2.
    """

    def __init__(
        self,
        problem: str,
        *,
        field: str = "",
        value: object = None,
        remedy: str = "",
        status: int = 422,
    ) -> None:
        self.problem, self.field, self.value = problem, field, value
        self.remedy, self.status = remedy, status
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        shown = f" (got {self.value!r})" if self.value is not None else ""
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{where}{self.problem}{shown}{remedy}"


def near(word: str, known: Iterable[str]) -> str:
    """`did you mean X?` or the list of valid choices: the remedy for an unknown name."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=2, cutoff=0.6)
    if close:
        return "Did you mean " + " or ".join(close) + "?"
    return "Known: " + (", ".join(choices[:12]) or "none yet") + ("…" if len(choices) > 12 else "")
