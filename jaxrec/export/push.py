"""An exported folder onto the Hugging Face hub."""

from __future__ import annotations

import pathlib
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

ABOUT_USERS = ("users.tsv", "samples.json")
"""Files of an export that hold users' names and histories."""


def push(folder: pathlib.Path, name: str, *, users: bool = False) -> str:
    """Uploads an exported folder to the Hugging Face hub, into a private model where there is none; its address.

    Args:
      folder: what `jaxrec.export.whole_system.export` made.
      name: of the model on the hub.
      users: whether users' names and histories go up too; where not, those of an earlier upload are taken off.
    Raises:
      ValueError: nobody is logged in, the hub can't be reached, or it refuses the name.
    """
    api = HfApi()
    theirs = [*ABOUT_USERS]
    left_out: dict[str, Any] = {} if users else {"ignore_patterns": theirs, "delete_patterns": theirs}
    try:
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by jaxrec", **left_out)
    except LocalTokenNotFoundError as error:
        raise ValueError(f"nobody is logged in to the hub; run `hf auth login`, then export again ({error})") from error
    except (HfHubHTTPError, HFValidationError) as error:
        code = getattr(getattr(error, "response", None), "status_code", None)
        advice = "log in with `hf auth login`" if code == 401 else "look at the name and at your rights"
        raise ValueError(f"the hub refused {name!r}; {advice}. {folder} is complete ({error})") from error
    except OSError as error:  # offline, or no connection
        raise ValueError(
            f"the hub can't be reached; {folder} is complete and can be uploaded later ({error})"
        ) from error
    return str(address)
