"""Numbers in the documents are those of the CSVs beside them."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from conftest import REPOSITORY

RESULTS = REPOSITORY / "docs" / "results" / "six_tasks" / "results.csv"
TASKS = {
    "pen": "adroit/pen-binary-v0",
    "door": "adroit/door-binary-v0",
    "kitchen/complete": "kitchen/complete-v0",
    "kitchen/mixed": "kitchen/mixed-v0",
    "AntMaze": "antmaze/umaze-diverse-v0",
    "HalfCheetah": "mujoco/halfcheetah-medium-replay-v0",
}
METHODS = {"SMAC": "smac", "paper's form": "smac_paper", "IQL": "iql", "TD3+BC": "td3bc", "SAC": "sac", "TD3": "td3"}
BASELINES = ("iql", "td3bc")
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


@pytest.fixture(scope="module")
def means() -> dict[tuple[str, str, str], dict[str, float]]:
    """Means over seeds by dataset, offline and online method."""
    rows = defaultdict(list)
    with RESULTS.open(newline="") as file:
        for row in csv.DictReader(file):
            rows[row["dataset"], row["offline_algorithm"], row["online_algorithm"]].append(row)
    names = ("offline_score", "drop", "drop_noise", "final_score", "regret")
    return {
        key: {name: float(np.mean([float(row[name]) for row in found])) for name in names}
        for key, found in rows.items()
        if key[2]
    }


def table_below(path: Path, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    lines = path.read_text().partition(f"\n{heading}\n")[2].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|"))
    end = next(i for i in range(begin, len(lines)) if not lines[i].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begin + 2 : end]]


def shown(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"


def net_drop(row: dict[str, float]) -> float:
    return row["drop"] - row["drop_noise"]


def test_table_of_the_recipe_has_all_pairs_with_their_means(means):
    rows = table_below(REPOSITORY / "docs" / "recipe.md", "## Six tasks")
    keys = []
    for task, pair, *cells in rows:
        offline, online = (METHODS[name] for name in pair.split(" → "))
        keys.append((TASKS[task], offline, online))
        row = means[keys[-1]]
        numbers = (row["offline_score"], row["drop"], net_drop(row), row["final_score"], row["regret"])
        assert cells == [shown(number) for number in numbers], (task, pair)
    assert sorted(keys) == sorted(means)


def test_table_of_the_readme_has_smac_beside_its_best_baseline(means):
    rows = table_below(REPOSITORY / "README.md", "### Against baselines")
    assert [row[0] for row in rows] == list(TASKS)
    names = {method: name for name, method in METHODS.items()}
    for task, *cells in rows:
        own = {key[1:]: row for key, row in means.items() if key[0] == TASKS[task]}
        sac, td3 = own["smac", "sac"], own["smac", "td3"]
        best = min((key for key in own if key[0] in BASELINES), key=lambda key: own[key]["regret"])
        expected = [own[method, "sac"]["offline_score"] for method in ("smac", *BASELINES)]
        expected += [net_drop(row) for row in (sac, td3, own[best])]
        expected += [row["regret"] for row in (sac, td3, own[best])]
        label = " → ".join(names[method] for method in best)
        assert cells == [*map(shown, expected[:-1]), f"{shown(expected[-1])} ({label})"], task


def anchors(path: Path) -> set[str]:
    """Names under which a document's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_within_the_documents_lead_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
