"""A simulated Fusebill: one HTTP server on loopback, for the tests and the sandbox.

`customers` holds the sample customers and the operations on them; `misbehaviour` lists the faults
that can be set, and builds the answers. It imports nothing of the bot and nothing of the other
simulator. Start reading at `simulator.SimulatedFusebill`.
"""
