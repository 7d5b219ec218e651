"""How anything is shown: as a table, in words, as a page, with a progress bar."""
