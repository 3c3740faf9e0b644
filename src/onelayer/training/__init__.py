"""Training: from a labelled file to a run directory with the best model.

How a row becomes a training step::

    finetune     plans, opens the run's directory (resume, run_store), and trains
    plan         reads the labelled files, and the base's config and tokenizer; no weights
    dataset      splits off dev rows (split) and turns rows into tokens (token_cache)
    trainer      steps through batches (sampler, adamw), evaluates, saves states and the best model
    run_record   what ``onelayer.json`` and the model card tell about the run

``search`` does this for several seeds. ``progress`` has the reporters, ``remarks`` their texts.
"""
