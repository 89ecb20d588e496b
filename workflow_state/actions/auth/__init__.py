"""Credentials of a definition: the headers that carry them, and the secrets that may be in nothing that is kept.

Ask `credentials` what to send, and `oauth` for a token. A new kind of authentication belongs in `credentials`.
"""
