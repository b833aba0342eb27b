"""One of two processes whose examples stay where they are: python shards_worker.py FOLDER RANK CASES, a JSON list."""

import json
import sys
from pathlib import Path

import torch
from torch import distributed

from limbeck.core import Room, Shard
from limbeck.data.order import itinerary, shard_of
from limbeck.memory import PredictionBank, TopK

EXAMPLES, CLASSES, EPOCHS = 23, 6, 4
folder, rank, cases = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
rows = torch.randn(EPOCHS, EXAMPLES, CLASSES, generator=torch.Generator().manual_seed(0)).softmax(2)
kind = TopK(2, "float16")
sent = 0


def counting(name, place):
    real = getattr(distributed, name)

    def collective(*arguments, **options):
        global sent  # noqa: PLW0603
        # rows travel as bytes, and nothing else does
        sent += arguments[place].nbytes if arguments[place].dtype == torch.uint8 else 0
        return real(*arguments, **options)

    setattr(distributed, name, collective)


def recalled(bank, ids):
    return bank.recall(ids, torch.zeros(len(ids), CLASSES))


def moved(act):
    before = sent
    found = act()
    return sent - before, found


def told(home, within, nodes, place):
    """Return what was sent after each epoch and for the checkpoints, and how many examples this process has."""
    shards = () if within == "global" else (0, 0) if within == "node" and nodes == 1 else (0, 1)
    mine = torch.from_numpy(shard_of(EXAMPLES, shards, rank))
    shard = None if within == "global" else Shard(within, mine)
    here = {"node": rank, "local_rank": 0, "local_world": 1} if nodes == 2 else {"local_rank": rank, "local_world": 2}
    room = Room(EXAMPLES, folder=place, nodes=nodes, shard=shard, **here)
    settings = {"batch_size": 6, "seed": 3, "rank": rank, "world": 2, "parts": 1, "start": 0, "shards": shards}
    bank = PredictionBank(room, home, kind)
    epochs = []
    for epoch in range(EPOCHS):
        route = itinerary(EXAMPLES, epoch=epoch, **settings)
        for number, (piece,) in enumerate(route.pieces):
            ids = torch.from_numpy(route.positions[piece])
            if epoch:
                expected = kind.decode(kind.encode(rows[epoch - 1, ids]), CLASSES)
                assert torch.equal(recalled(bank, ids), expected), (epoch, number)
            bank.record(ids, rows[epoch, ids])
            if (epoch, number) == (1, 2):
                state = bank.state_dict()
                if rank == 0:
                    torch.save(state, place / "state")
                distributed.barrier()
                bank = PredictionBank(room, home, kind)
                bank.load_state_dict(torch.load(place / "state", weights_only=True))
        epochs.append(moved(bank.turn)[0])
    checkpoint, state = moved(bank.state_dict)
    if rank == 0 and home != "disk":
        # whoever goes on from it finds the last epoch's row of everybody
        alone = PredictionBank(Room(EXAMPLES), "ram", kind)
        alone.load_state_dict(state)
        assert torch.equal(recalled(alone, torch.arange(EXAMPLES)), kind.decode(kind.encode(rows[-1]), CLASSES))
    return {"epochs": epochs, "checkpoint": checkpoint, "here": len(mine)}


counting("all_gather", 1)
counting("gather", 0)
results = []
for index, case in enumerate(cases):
    folder_of_case = folder / str(index)
    folder_of_case.mkdir(exist_ok=True)
    results.append(told(*case, folder_of_case))
torch.save(results, folder / f"told-{rank}")
# its threads may not outlive the interpreter
distributed.barrier()
distributed.destroy_process_group()
