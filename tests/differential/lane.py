# SPDX-License-Identifier: Apache-2.0
# Copyright (c) The Offramp Authors
"""A process that runs programs on one testbed, many side by side, so that two testbeds are used at
the same time and one's clients do not slow down the other's.
"""

import asyncio
import multiprocessing

import execute


class Lane:
    """`jobs` and `traces` go over one pipe; wait on `pipe` for traces."""

    def __init__(self, endpoint, width):
        self.pipe, inner = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(
            target=_main, args=(inner, endpoint, width), daemon=True)
        self._process.start()
        inner.close()

    def start(self, key, program, prefix):
        """Its trace will come as (key, trace). `prefix` is the level of its topics and the
        beginning of its client identifiers: new for each run, equal on both testbeds."""
        self.pipe.send((key, program, prefix))

    def close(self):
        self.pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()


def _main(pipe, endpoint, width):
    try:
        asyncio.run(_serve(pipe, endpoint, width))
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass


async def _serve(pipe, endpoint, width):
    """Programs side by side, `width` at most; one that is exclusive alone."""
    loop = asyncio.get_running_loop()
    places, over = asyncio.Semaphore(width), loop.create_future()
    arrived, running = asyncio.Queue(), set()

    def read():
        try:
            while pipe.poll():
                arrived.put_nowait(pipe.recv())
        except (EOFError, OSError):
            loop.remove_reader(pipe.fileno())
            arrived.put_nowait(None)

    loop.add_reader(pipe.fileno(), read)
    while True:
        job = await arrived.get()
        if job is None:
            return
        key, program, prefix = job
        if program.get("exclusive") and running:
            await asyncio.wait(running)
        await places.acquire()
        task = loop.create_task(_run(pipe, endpoint, key, program, prefix))
        running.add(task)
        task.add_done_callback(lambda done: (running.discard(done), places.release()))
        if program.get("exclusive"):
            await asyncio.wait({task})


async def _run(pipe, endpoint, key, program, prefix):
    run = execute.Run(program, endpoint, prefix)
    trace = await run.run()
    try:
        await run.clean()
    except (asyncio.TimeoutError, OSError):
        pass  # nothing that comes after meets its topics
    pipe.send((key, (trace, run.counts)))
