"""Reads what compute-sanitizer says at its end:

    ========= ERROR SUMMARY: 2 errors
    ========= RACECHECK SUMMARY: 3 hazards displayed (1 error, 2 warnings)"""

import re

ERRORS = re.compile(r"^=* *ERROR SUMMARY: (\d+) errors?\b", re.M)
HAZARDS = re.compile(r"^=* *RACECHECK SUMMARY: \d+ hazards? displayed \((\d+) errors?, (\d+) warnings?\)", re.M)
# Of the tool or the machine, not of what it looked at.
UNABLE = re.compile(r"^=* *(.*(?:not supported|Internal Sanitizer Error|terminated before first instrumented API call|"
                    r"insufficient permission|No attachable process found).*)$", re.M | re.I)


def read(text):
    """(errors, warnings) of all processes; None where there is no summary, so that nothing was checked."""
    summaries = [(int(match[1]), 0) for match in ERRORS.finditer(text)]
    summaries += [(int(match[1]), int(match[2])) for match in HAZARDS.finditer(text)]
    return tuple(map(sum, zip(*summaries))) if summaries else None


def why_unable(text):
    found = UNABLE.search(text)
    return found[1] if found else None


def complaints(text):
    """The first line of each: what, and which kernel."""
    return re.findall(r"^=* *((?:Error: |Warning: )?(?:Race reported|Potential \w+ hazard|Invalid|Misaligned|Program hit|Uninitialized).*)$", text, re.M)
