"""Which environment variables a definition may read with `${env.NAME}`. Pure functions.

A definition sends what it reads to its own server. So a variable by which this process itself runs must not be read:
the password of Redis, a cloud's keys, a proxy with a password in its URL. WORKFLOW_STATE_SECRETS names the variables
that may be read, and none of these can be among them.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from workflow_state.globs import find_pattern_problem, fits

# What each belongs to, and the patterns of its variables in upper case.
_NEVER_READ: Final[Mapping[str, tuple[str, ...]]] = {
    "workflow_state itself": ("WORKFLOW_STATE_*",),
    "Celery": ("CELERY*", "C_FORCE_ROOT", "FLOWER_*", "KOMBU_*", "BROKER_URL", "RESULT_BACKEND"),
    "Redis": ("REDIS*", "VALKEY*"),
    "a cloud's SDK": (
        *("AWS_*", "ECS_*", "BOTO*", "AZURE_*", "ARM_*", "MSI_*", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
        *("GOOGLE_*", "GCLOUD_*", "GCP_*", "GCE_*", "GS_*", "CLOUDSDK_*", "ALIBABA_CLOUD_*", "OCI_*", "FSSPEC_*"),
        *("KUBERNETES_*", "KUBECONFIG"),
    ),
    "the network of this process": (
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "NO_PROXY", "NETRC", "SSL_CERT_*", "SSLKEYLOGFILE"),
        *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OTEL_*"),
    ),
    "Python": ("PYTHON*", "VIRTUAL_ENV*", "CONDA_*", "PIP_*", "UV_*"),
    "the shell or the system": (
        *("PATH", "HOME", "USER", "LOGNAME", "HOSTNAME", "SHELL", "SHLVL", "PWD", "OLDPWD", "TMPDIR", "TMP", "TEMP"),
        *("TERM", "LANG", "LANGUAGE", "LC_*", "TZ", "IFS", "ENV", "BASH*", "LD_*", "DYLD_*", "GLIBC_TUNABLES"),
        *("MALLOC_*", "SSH_*", "GPG_*", "XDG_*", "DBUS_*", "_"),
    ),
}


def find_variable_problem(name: str, allowed: Sequence[str] = ()) -> str | None:
    """Return why no definition may read the environment variable, and what to do; None where one may.

        find_variable_problem("CRM_TOKEN", ["CRM_*"])           None

    `allowed` are the patterns of WORKFLOW_STATE_SECRETS. Where there are none, every variable may be read that belongs
    to nobody else.
    """
    if owner := find_owner(name):
        return (
            f"the environment variable {name} belongs to {owner}, and no definition may read it; "
            "give the secret a variable of its own, such as CRM_TOKEN"
        )
    if allowed and not fits(name, allowed):
        return (
            f"the environment variable {name} is not in WORKFLOW_STATE_SECRETS ({', '.join(allowed)}); "
            "add it there, or use one that is"
        )
    return None


def find_owner(name: str) -> str | None:
    """Return whom the variable belongs to where no definition may read it: `Redis`. None where one may."""
    # The settings are read without regard to case, and so are a proxy's variables.
    upper = name.upper()
    return next((owner for owner, patterns in _NEVER_READ.items() if fits(upper, patterns)), None)


def check_secret_patterns(patterns: Sequence[str]) -> None:
    """Raise ValueError, which says what is wrong with the first wrong entry of WORKFLOW_STATE_SECRETS.

    The entry is shown only where it is a name: someone may have put a secret there.
    """
    for number, pattern in enumerate(patterns, start=1):
        name = pattern.replace("*", "_")
        if find_pattern_problem(pattern) or not (name.isascii() and name.isidentifier()):
            raise ValueError(f"entry {number} is no variable's name, such as MAIL_KEY, and no pattern, such as CRM_*")
        if "*" not in pattern and (owner := find_owner(pattern)):
            raise ValueError(f"{pattern} belongs to {owner}, and no definition may read it")
