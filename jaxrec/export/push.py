"""Uploads an exported folder to the Hugging Face hub."""

from __future__ import annotations

import pathlib
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

ABOUT_USERS = ("users.tsv", "samples.json", "user_vectors.safetensors")
"""Files of an export that hold users' names and histories, or are made of them."""


def push(folder: pathlib.Path, name: str, *, users: bool = False) -> str:
    """Uploads an exported folder to a model repository on the hub, created as private where it does not exist.

    Args:
      folder: written by `jaxrec.export.whole_system.export`.
      name: of the repository, such as "me/model".
      users: whether to upload users' names and histories, too; if not, those of an earlier upload are deleted.
    Returns:
      The URL of the repository.
    Raises:
      ValueError: nobody is logged in, the hub can't be reached, or it rejects the request.
    """
    api = HfApi()
    user_files = [*ABOUT_USERS]
    patterns: dict[str, Any] = {} if users else {"ignore_patterns": user_files, "delete_patterns": user_files}
    try:
        address = api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Exported by jaxrec", **patterns)
    except LocalTokenNotFoundError as error:
        raise ValueError(f"nobody is logged in to the hub; run `hf auth login`, then export again ({error})") from error
    except (HfHubHTTPError, HFValidationError) as error:
        code = getattr(getattr(error, "response", None), "status_code", None)
        advice = "log in with `hf auth login`" if code == 401 else "check the name and your permissions"
        raise ValueError(f"the hub refused {name!r}; {advice}. {folder} is complete ({error})") from error
    except OSError as error:  # offline, or no connection
        raise ValueError(
            f"the hub can't be reached; {folder} is complete and can be uploaded later ({error})"
        ) from error
    return str(address)
