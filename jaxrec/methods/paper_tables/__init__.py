"""The papers' tables on the data at hand: which run stands in a row, what is measured, ours beside theirs."""
