"""Reorganisations (机构改革, Art. 29): units and systems go elsewhere, and everything of theirs follows."""
