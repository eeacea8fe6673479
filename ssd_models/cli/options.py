"""What several commands share."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

Output = Annotated[str, arg(aliases=["-o"])]
