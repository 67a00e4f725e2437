"""Authorities and certificates for the tests, made by deploy/tls/make-certificates.sh as an administrator would."""

import os
import pathlib
import subprocess

import harness

SCRIPT = os.path.join(harness.SOURCE, "deploy", "tls", "make-certificates.sh")


class Certificate:
    """A certificate, its key, and the authorities that whoever shows it trusts."""

    def __init__(self, authority, name, trusts=None):
        self.cert = os.path.join(authority.folder, f"{name}.pem")
        self.key = os.path.join(authority.folder, f"{name}.key")
        self.ca = (trusts or authority).ca

    @property
    def options(self):
        return ["--tls-cert-file", self.cert, "--tls-key-file", self.key, "--tls-ca-file", self.ca]

    @property
    def environment(self):
        return {"PENSTOCK_TLS_CERT_FILE": self.cert, "PENSTOCK_TLS_KEY_FILE": self.key, "PENSTOCK_TLS_CA_FILE": self.ca}

    def read(self):
        return [pathlib.Path(path).read_bytes() for path in (self.ca, self.key, self.cert)]


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.ca = os.path.join(folder, "ca.pem")
        make("ca", folder)

    def issue(self, name, *names, days=None, trusts=None):
        """For 127.0.0.1 unless it says otherwise."""
        make("issue", self.folder, name, *(names or ["127.0.0.1", "localhost"]), days=days)
        return Certificate(self, name, trusts)


def make(*arguments, days=None):
    environment = dict(os.environ) if days is None else dict(os.environ, DAYS=str(days))
    subprocess.run(["sh", SCRIPT, *arguments], check=True, env=environment)
