"""The whole GPU suite on the stand-in for CUDA, as it will run on a GPU but with small sizes: every part works, nothing fails, and nothing it
says could be taken for a GPU's. Usage: test_rehearsal.py BUILD-FOLDER"""

import json
import os
import subprocess
import sys
import tempfile

import suite


def main():
    with tempfile.TemporaryDirectory(prefix="penstock-test-") as folder:
        path = os.path.join(folder, "results.json")
        run = subprocess.run(["sh", os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.sh"), "--stand-in", "--build", sys.argv[1],
                              "--json", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        print(run.stdout)
        assert run.returncode == 0, f"exit code {run.returncode}"
        with open(path) as file:
            results = json.load(file)
    assert results["done"] and results["passed"], "it says that it is not done or has not passed"
    assert not results["on_gpu"] and "stand-in" in results["machine"]["gpu"], "it says that it ran on a GPU"
    assert "A REHEARSAL" in run.stdout and not results["targets"] and not any("share_of_peak" in figure for figure in results["figures"])
    for part in suite.PARTS:
        mine = [check for check in results["checks"] if check["part"] == part]
        assert any(check["status"] == "passed" for check in mine) or part == "sanitizer", f"{part} has checked nothing"
    # What a rehearsal leaves out, and no more.
    skipped = [f"{check['name']}: {check['detail']}" for check in results["checks"] if check["status"] == "skipped"]
    assert all("left out of a rehearsal" in text or "only for a GPU" in text for text in skipped), skipped


if __name__ == "__main__":
    main()
