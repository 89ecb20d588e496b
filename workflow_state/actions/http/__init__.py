"""One HTTP exchange: the request is built, sent, answered, traced and judged.

Ask `request` to build one, `exchange` to send it, `outcome` what its answer means for the action, and `redaction` to
take secrets out of what is kept. A new reason to send a request again, or not, belongs in `failures`.
"""
