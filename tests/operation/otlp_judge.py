"""Reads bodies of OTLP/HTTP requests in JSON, one a line, by OpenTelemetry's own protocol buffers, and writes
their spans, one a line, as plain JSON. Whatever the buffers have no place for ends it with an error.

OTLP's JSON is protobuf's, but for the ids, which are hexadecimal: they are turned into base64 first.
"""

import base64
import json
import re
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


def ids_in_base64(span):
    for key, digits in (("traceId", 32), ("spanId", 16), ("parentSpanId", 16)):
        if key in span:
            assert re.fullmatch(f"[0-9a-f]{{{digits}}}", span[key]), f"{key} {span[key]!r}"
            span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()


def plain(value):
    return getattr(value, value.WhichOneof("value"))


for line in sys.stdin:
    body = json.loads(line)
    for resource in body["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                ids_in_base64(span)
    request = json_format.ParseDict(body, ExportTraceServiceRequest())
    for resource in request.resource_spans:
        of = {pair.key: plain(pair.value) for pair in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                assert len(span.trace_id) == 16 and any(span.trace_id), span
                assert len(span.span_id) == 8 and any(span.span_id), span
                assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
                keys = [pair.key for pair in span.attributes]
                assert len(keys) == len(set(keys)), f"twice in {keys}"
                print(json.dumps({
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": Span.SpanKind.Name(span.kind),
                    "status": Status.StatusCode.Name(span.status.code),
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "scope": scope.scope.name,
                    "resource": of,
                    "attributes": {pair.key: plain(pair.value) for pair in span.attributes},
                }))
