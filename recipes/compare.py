"""Which loss is better, and is it luck? Models and losses, over seeds, on data of any format.

Every combination of --model, --negative-loss and --context is trained with every seed, and so is
each --configuration. Runs that are finished are kept in OUT/runs and never done again, and one that
was killed goes on after its last whole epoch, exactly as if it had not been: after an interruption,
or to add a seed or a loss, call again. Early stopping looks at validation alone. OUT/report.html
says what came out.
"""

from pathlib import Path

import experiment
import kuairand
import movielens
import quickstart
import sequences
from keras_negrec import data
from progress import doing


def load_prepared(path: Path) -> tuple[data.Split, data.Vocabulary]:
    with doing(f"reading {path}"):
        prepared = data.load_prepared(path)
        return prepared.split(), prepared.vocabulary


READERS = {
    "kuairand": kuairand.load,
    "movielens": movielens.load,
    "prepared": load_prepared,
    "sequences": sequences.load,
}


def main():
    options = experiment.parser(
        __doc__, model=None, resume=True, export=False, out=Path("saved_models/compare")
    )
    options.add_argument("--data", required=True, help="a file, a prepared folder, or simulator")
    options.add_argument("--format", choices=READERS, help="of the file or folder")
    options.add_argument("--sessions", type=int, default=8000, help="simulated (8000)")
    options.add_argument("--data-seed", type=int, default=0, help="of the simulator (0)")
    args = experiment.parse(options, scorers=quickstart.ORACLES)
    if (args.data == "simulator") == (args.format is not None):
        options.error("--format is needed with a file as --data, and has no use with simulator")
    if args.data == "simulator":
        split, vocabulary, oracles = quickstart.simulate(args.sessions, args.data_seed)
        experiment.run(args, split, vocabulary, scorers=oracles)
    else:
        experiment.run(args, *READERS[args.format](Path(args.data)))


if __name__ == "__main__":
    main()
