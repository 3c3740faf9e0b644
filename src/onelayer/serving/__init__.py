"""A model over HTTP. No torch here.

How a request for predictions is handled::

    http/connection    reads its bytes; http/admission refuses it here if the queue is full
    http/app           gives it an id and finds its route; http/admission checks every request
    api/v1             (or huggingface, kserve) http/body reads the body, api/schemas validates it
    service            makes a job of its rows; http/admission checks the queue
    scheduler/batcher  encodes (long_texts), queues (job_queue), runs and decodes the job
    service            counts and logs the answer (server_metrics, access_log)
"""
