"""A model over HTTP. No torch here.

The way of a request for predictions::

    http/connection    its bytes; refused here if http/admission has no room
    http/app           its id and its route; http/admission judges every request
    api/v1             or huggingface, kserve: http/body reads the body, api/schemas checks it
    service            a job of rows; http/admission judges the queue
    scheduler/batcher  encodes (long_texts), queues (job_queue), runs and decodes
    service            counts and logs (server_metrics, access_log)
"""
