"""Which packages an installed jaxrec has: its own, and configs/ as `jaxrec.presets`; launch/ stays in the checkout."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["jaxrec*"]), "jaxrec.presets", "jaxrec.presets.studies"],
    package_dir={"jaxrec.presets": "configs", "jaxrec.presets.studies": "configs/studies"},
)
