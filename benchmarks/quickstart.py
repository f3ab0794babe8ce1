"""What the quickstart prints, and how long it takes: runs it and writes results/quickstart.csv anew.

python benchmarks/quickstart.py
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich import print as show

from common import RESULTS, append_row
from orthodrome.evaluation import summary_rows
from orthodrome.training.quickstart import comparison_table, quickstart


def main() -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = quickstart(Path(folder))
    seconds = time.perf_counter() - start
    show(comparison_table(result.reports))
    _, rows = summary_rows({name: report.to_report() for name, report in result.reports.items()})
    (RESULTS / "quickstart.csv").unlink(missing_ok=True)
    for system, eer, tar, accuracy in rows:
        row = {"seconds": f"{seconds:.0f}", "system": system, "eer": eer, "tar_at_far_1_percent": tar, "accuracy": accuracy}
        append_row("quickstart", row)


if __name__ == "__main__":
    main()
