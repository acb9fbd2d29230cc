"""Programs that verify one delivery, in five languages, with nothing but what each language brings. Pure.

Each reads the hook's secret from the environment: no page ever shows it again. The delivery's own texts stand in them
as literals of the language.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDelivery:
    """What a signature is made of, and the signature."""

    id: str
    timestamp: str
    signature: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language: how its program is run from `file`, how it writes a text, and the program with four places."""

    name: str
    file: str
    run: str
    literal: Callable[[str], str]
    program: str


def example_in(language: Language, delivery: SignedDelivery) -> str:
    """The program for this delivery."""
    program = language.program
    for place, text in (
        ("ID", delivery.id),
        ("TIMESTAMP", delivery.timestamp),
        ("SIGNATURE", delivery.signature),
        ("BODY", delivery.body),
    ):
        program = program.replace(f"<{place}>", language.literal(text))
    return program


def _double_quoted(text: str) -> str:
    """A literal of JSON, which is one of Python, JavaScript, Go and Java too: characters stand for themselves."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _single_quoted(text: str) -> str:
    """A literal of PHP in which nothing is replaced."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


_PYTHON: Final = """\
import base64, hashlib, hmac, os

message_id = <ID>
timestamp = <TIMESTAMP>
signatures = <SIGNATURE>
body = <BODY>.encode()

key = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
signed = message_id.encode() + b"." + timestamp.encode() + b"." + body
expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
valid = any(hmac.compare_digest(each, expected) for each in signatures.split(" "))
print("valid" if valid else "not valid")
"""
_NODE: Final = """\
const crypto = require("node:crypto");

const messageId = <ID>;
const timestamp = <TIMESTAMP>;
const signatures = <SIGNATURE>;
const body = <BODY>;

const key = Buffer.from(process.env.WEBHOOK_SECRET.replace(/^whsec_/, ""), "base64");
const signed = `${messageId}.${timestamp}.${body}`;
const expected = Buffer.from("v1," + crypto.createHmac("sha256", key).update(signed).digest("base64"));
const valid = signatures.split(" ").map((each) => Buffer.from(each))
  .some((each) => each.length === expected.length && crypto.timingSafeEqual(each, expected));
console.log(valid ? "valid" : "not valid");
"""
_GO: Final = """\
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

const (
	messageID  = <ID>
	timestamp  = <TIMESTAMP>
	signatures = <SIGNATURE>
	body       = <BODY>
)

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(messageID + "." + timestamp + "." + body))
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for _, each := range strings.Fields(signatures) {
		if hmac.Equal([]byte(each), []byte(expected)) {
			fmt.Println("valid")
			return
		}
	}
	fmt.Println("not valid")
}
"""
_PHP: Final = """\
<?php
$messageId = <ID>;
$timestamp = <TIMESTAMP>;
$signatures = <SIGNATURE>;
$body = <BODY>;

$key = base64_decode(preg_replace('/^whsec_/', '', getenv('WEBHOOK_SECRET')));
$expected = 'v1,' . base64_encode(hash_hmac('sha256', "$messageId.$timestamp.$body", $key, true));
$valid = false;
foreach (explode(' ', $signatures) as $each) {
    $valid = $valid || hash_equals($expected, $each);
}
echo $valid ? "valid\\n" : "not valid\\n";
"""
_JAVA: Final = """\
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

public class Verify {
    public static void main(String[] args) throws Exception {
        String messageId = <ID>;
        String timestamp = <TIMESTAMP>;
        String signatures = <SIGNATURE>;
        String body = <BODY>;

        byte[] key = Base64.getDecoder().decode(System.getenv("WEBHOOK_SECRET").replaceFirst("^whsec_", ""));
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        byte[] signed = (messageId + "." + timestamp + "." + body).getBytes(StandardCharsets.UTF_8);
        byte[] expected = ("v1," + Base64.getEncoder().encodeToString(mac.doFinal(signed))).getBytes();
        boolean valid = false;
        for (String each : signatures.split(" ")) {
            valid = valid || MessageDigest.isEqual(each.getBytes(), expected);
        }
        System.out.println(valid ? "valid" : "not valid");
    }
}
"""

LANGUAGES: Final = (
    Language(name="Python", file="verify.py", run="python3 verify.py", literal=_double_quoted, program=_PYTHON),
    Language(name="Node", file="verify.cjs", run="node verify.cjs", literal=_double_quoted, program=_NODE),
    Language(name="Go", file="verify.go", run="go run verify.go", literal=_double_quoted, program=_GO),
    Language(name="PHP", file="verify.php", run="php verify.php", literal=_single_quoted, program=_PHP),
    Language(
        name="Java",
        file="Verify.java",
        run="java -Dfile.encoding=UTF-8 Verify.java",
        literal=_double_quoted,
        program=_JAVA,
    ),
)
