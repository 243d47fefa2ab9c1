"""Sealed tokens in Python, written from docs/reference/sealed-token.md alone. Needs the package `cryptography`.

    sealed_token.py seal | open      one JSON object on standard input, one on standard output
    sealed_token.py vectors FILE     checks every vector of FILE
"""

import base64
import hashlib
import hmac
import json
import os
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = bytes.fromhex("92bb3500")
TEXT_MAX, OVERHEAD, SKEW = 4096, 96, 60


class Refused(Exception):
    """Holds the kind of failure."""


def label(key, what):
    return hmac.digest(key, b"keyroll sealed token v1 " + what, "sha256")


def context_digest(cookie, purpose, tenant):
    digest = hashlib.sha256(b"keyroll sealed token v1 context")
    for field in (cookie, purpose, tenant):
        digest.update(len(field.encode()).to_bytes(8, "big") + field.encode())
    return digest.digest()


def xaes(key, nonce):
    """AES-256-GCM under the key that XAES-256-GCM (c2sp.org/XAES-256-GCM) derives from the first half of the nonce."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update
    zero = int.from_bytes(block(bytes(16)), "big")
    subkey = (zero << 1) % (1 << 128) ^ (0x87 if zero >> 127 else 0)
    derived = b""
    for counter in (1, 2):
        message = int.from_bytes(bytes([0, counter, 0x58, 0]) + nonce[:12], "big")
        derived += block((message ^ subkey).to_bytes(16, "big"))
    return AESGCM(derived)


def seal(key, key_id, context, issued_at, expires_at, payload, nonce=None):
    nonce = nonce or os.urandom(24)
    clear = MAGIC + key_id.to_bytes(4, "big") + issued_at.to_bytes(8, "big") + expires_at.to_bytes(8, "big")
    additional = b"keyroll1" + clear + context_digest(*context)
    sealed = xaes(label(key, b"encryption"), nonce).encrypt(nonce[12:], payload, additional)
    return base64.urlsafe_b64encode(clear + label(key, b"commitment") + nonce + sealed).rstrip(b"=").decode()


def open_token(keys, retired, context, text, now):
    if len(text.encode()) > TEXT_MAX:
        raise Refused("tooLong")
    try:
        token = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Refused("malformed") from None
    # Python's decoder ignores bits that encode nothing; the format does not.
    if base64.urlsafe_b64encode(token).rstrip(b"=").decode() != text:
        raise Refused("malformed")
    if len(token) < OVERHEAD or token[:4] != MAGIC or token[8] >> 7 or token[16] >> 7:
        raise Refused("malformed")
    key_id, issued_at, expires_at = (int.from_bytes(token[a:b], "big") for a, b in ((4, 8), (8, 16), (16, 24)))
    if key_id in retired:
        raise Refused("retiredKey")
    if key_id not in keys:
        raise Refused("unknownKey")
    key, nonce = keys[key_id], token[56:80]
    if not hmac.compare_digest(token[24:56], label(key, b"commitment")):
        raise Refused("tampered")
    additional = b"keyroll1" + token[:24] + context_digest(*context)
    try:
        payload = xaes(label(key, b"encryption"), nonce).decrypt(nonce[12:], token[80:], additional)
    except InvalidTag:
        raise Refused("tampered") from None
    if now + SKEW < issued_at:
        raise Refused("notYetValid")
    if now >= expires_at:
        raise Refused("expired")
    return {"key": key_id, "issuedAt": issued_at, "expiresAt": expires_at, "payload": payload.hex()}


def run(command, request):
    context = (request["cookie"], request["purpose"], request["tenant"])
    if command == "seal":
        nonce = bytes.fromhex(request.get("nonce", ""))
        key, payload = bytes.fromhex(request["material"]), bytes.fromhex(request["payload"])
        times = request["issuedAt"], request["expiresAt"]
        return {"token": seal(key, request["key"], context, *times, payload, nonce)}
    keys = {int(key_id): bytes.fromhex(material) for key_id, material in request["keys"].items()}
    try:
        return open_token(keys, request["retired"], context, request["token"], request["now"])
    except Refused as kind:
        return {"error": str(kind)}


def check(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    for vector in vectors["seal"]:
        assert run("seal", vector)["token"] == vector["token"], vector["name"]
    for vector in vectors["open"]:
        assert run("open", {**vectors["ring"], **vector}) == vector["result"], vector["name"]
    return {"sealed": len(vectors["seal"]), "opened": len(vectors["open"])}


if __name__ == "__main__":
    print(json.dumps(check(sys.argv[2]) if sys.argv[1] == "vectors" else run(sys.argv[1], json.load(sys.stdin))))
