"""The note of a refill: a JSON file that tells how far each input is done, so that a kill at any moment loses nothing.

Knows the file. Does not know inputs. It is replaced as a whole, by a file that is on the disk before it gets the name.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.base.errors import StartError

FORM = 1  # of the file; grows when an older version could not read it


def path_of(folder: Path, service: str, inputs: Sequence[str], sinks: Sequence[str]) -> Path:
    """Return where the note of a refill stands. Other inputs or sinks have another note."""
    digest = hashlib.sha256(json.dumps([service, list(inputs), sorted(sinks)]).encode()).hexdigest()
    return folder / f"refill-{service}-{digest[:10]}.json"


class Note:
    """One note. about: what people read in it, such as the inputs and sinks."""

    def __init__(self, path: Path, about: Mapping[str, object]):
        self.path, self._about = path, about

    def read(self) -> dict[str, Any]:
        """Return what was noted of each input, by its name. Raises StartError where the file is no note."""
        try:
            found = json.loads(self.path.read_bytes())
            if found["form"] != FORM:
                raise ValueError(f"its form is {found['form']}, and this version reads {FORM}")
            return dict(found["done"])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StartError(f"{self.path}: {error.strerror}; it notes what is done, and must be readable") from None
        except (ValueError, KeyError, TypeError) as error:
            raise StartError(f"{self.path} is no note of a refill ({error}); --again begins anew") from None

    def write(self, done: Mapping[str, object]) -> None:
        """Replace the note. done: of each input, by its name. Raises OSError."""
        whole = json.dumps({"form": FORM, **self._about, "done": done}, ensure_ascii=True)
        new = self.path.with_name(self.path.name + ".new")
        with open(new, "w", encoding="ascii") as file:
            file.write(whole + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)

    def remove(self) -> None:
        """Begin anew."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
