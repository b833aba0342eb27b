"""One of two processes that record rows of banks: python banks_worker.py FOLDER RANK KINDS, with commas."""

import sys
from pathlib import Path

import torch
from torch import distributed

from limbeck.core import LimbeckError, Room
from limbeck.memory import PredictionBank, TopK

place, rank, kinds = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(",")
rows = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0)).softmax(2)


def halves(epoch):
    """Return this process's ids of each batch: 8 is nobody's, and both have seen 0 in the second epoch."""
    first = [torch.tensor([0, 5]), torch.tensor([3])] if rank == 0 else [torch.tensor([1, 7]), torch.tensor([2])]
    second = [torch.tensor([0, 1]), torch.tensor([2])] if rank == 0 else [torch.tensor([0, 4]), torch.tensor([6])]
    return (first, second)[epoch]


def record(kind, folder):
    """Record two epochs in a bank, and leave in the folder what is recalled, and how another run's bank is refused."""
    machines = kind == "nodes"
    room = Room(
        9,
        folder=folder,
        node=rank if machines else 0,
        nodes=2 if machines else 1,
        local_rank=0 if machines else rank,
        local_world=1 if machines else 2,
    )
    home = "disk" if machines else kind
    bank = PredictionBank(room, home, TopK(3, "float32"))
    for ids in halves(0):
        bank.record(ids, rows[0, ids])
    bank.turn()
    # stopped in the second epoch, and begun again from the first process's state
    ids = halves(1)[0]
    bank.record(ids, rows[1, ids])
    if rank == 0:
        state = bank.state_dict()
        torch.save(state, folder / "state")
    else:
        bank.state_dict()
    distributed.barrier()
    state = torch.load(folder / "state", weights_only=True)
    bank = PredictionBank(room, home, TopK(3, "float32"))
    bank.load_state_dict(state)
    ids = halves(1)[1]
    bank.record(ids, rows[1, ids])
    bank.turn()
    found = bank.recall(torch.arange(9), torch.zeros(9, 5))

    # what goes wrong for one is told by all
    refused = ""
    if home == "disk":
        other = PredictionBank(room._replace(data="others"), home, TopK(3, "float32"))
        try:
            other.record(torch.tensor([rank]), rows[0, :1])
        except LimbeckError as error:
            refused = str(error)
    torch.save((found, refused), folder / f"found-{rank}")


distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=2)
for kind in kinds:
    (place / kind).mkdir(exist_ok=True)
    record(kind, place / kind)
# its threads may not outlive the interpreter
distributed.barrier()
distributed.destroy_process_group()
