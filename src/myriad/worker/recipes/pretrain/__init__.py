"""Pre-training of a Llama-architecture model: sharded, checkpointed, exactly resumable, exported for HF.

`config` and `order` are pure and need no torch; `run.py` imports the rest when it starts.
"""
