"""The worker process of one job: `python -m sacroplasty.workstation.worker ROOT`, the job's folder comes by stdin.

It imports what most work needs before it waits, so that a click does not wait for imports.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path

from sacroplasty.errors import SacroplastyError
from sacroplasty.workstation.jobs import Report
from sacroplasty.workstation.refusals import Refused, body_of

_WATCH_S = 1.0


def end_with_parent() -> None:
    """Leave when the server that started this process is gone: nobody could cancel the work any more."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(root: Path, folder: Path) -> int:
    """Do the work of a job folder and write down how it ended."""
    from sacroplasty.workstation.work import perform

    report = Report(folder)
    try:
        result = perform(root, report.job, report.progress)
    except SacroplastyError as error:
        report.refused(body_of(error))
        return 2
    except MemoryError:
        report.refused(body_of(Refused(507, "The memory is exhausted", remedy="Crop the CT to the pelvis")))
        return 3
    except Exception:
        traceback.print_exc()
        report.refused(body_of(Refused(500, "The program failed", remedy="See the job's log, and report it")))
        return 1
    report.done(result)
    return 0


def wait(root: Path) -> int:
    """Import, wait for the folder of a job, do its work; without a job nothing happens."""
    import sacroplasty.anatomy
    import sacroplasty.approach
    import sacroplasty.lesion
    import sacroplasty.workstation.work  # noqa: F401

    given = sys.stdin.readline().strip()
    if not given:
        return 0
    log = os.open(Path(given) / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return main(root, Path(given))


if __name__ == "__main__":
    end_with_parent()
    sys.exit(wait(Path(sys.argv[1])))
