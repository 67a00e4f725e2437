"""What generic gRPC tools ask a daemon: its health, service by service, and what it serves (server reflection). The clients are gRPC's
own Python packages, of grpcio's version; deploy/install_dependencies.sh puts those that Debian has not into build/python."""

import contextlib
import os
import subprocess
import sys
import tempfile
import unittest

import harness

try:
    import grpc
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    sys.path.append(os.path.join(harness.SOURCE, "build", "python"))
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
except ImportError as error:
    grpc, missing = None, str(error)

SERVICES = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
            "penstock.v1.StageServer"]
NOT_SERVED_YET = ["Profile"]


def message_classes(pool, *names):
    factory = message_factory.MessageFactory(pool)
    return [factory.GetPrototype(pool.FindMessageTypeByName(name)) for name in names]


def pool_of(*protos):
    folder = os.path.join(harness.SOURCE, "proto")
    pool = descriptor_pool.DescriptorPool()
    with tempfile.NamedTemporaryFile() as file:
        subprocess.run(["protoc", f"-I{folder}", f"--descriptor_set_out={file.name}", "--include_imports", *protos], check=True)
        for proto in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
            pool.Add(proto)
    return pool


class Reflection:
    """A client of one version's messages, made from our proto files."""

    def __init__(self, channel, version):
        package = f"grpc.reflection.{version}"
        pool = pool_of(f"grpc/reflection/{version}/reflection.proto")
        self.request, response = message_classes(pool, f"{package}.ServerReflectionRequest", f"{package}.ServerReflectionResponse")
        self.method = channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo",
                                            self.request.SerializeToString, response.FromString)

    def ask(self, *questions):
        """The answers to questions {field: value}, in one call that must end well."""
        requests = [self.request(host="here", **question) for question in questions]
        answers = list(self.method(iter(requests), timeout=20 * harness.PATIENCE))
        assert [answer.original_request for answer in answers] == requests
        assert all(answer.valid_host == "here" for answer in answers)
        return answers

    def file_of(self, **question):
        """The file's name, or gRPC's status code."""
        answer, = self.ask(question)
        if answer.HasField("error_response"):
            assert answer.error_response.error_message
            return answer.error_response.error_code
        proto, = answer.file_descriptor_response.file_descriptor_proto
        return descriptor_pb2.FileDescriptorProto.FromString(proto).name


@unittest.skipUnless(grpc, "needs gRPC's Python packages")
class Discovery(harness.TestCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.start_daemons(1)[0]
        self.channel = grpc.insecure_channel(self.daemon.address)
        self.addCleanup(self.channel.close)

    def test_health_of_each_service_and_of_none(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        watches = {}
        for service in ["", *SERVICES]:
            request = health_pb2.HealthCheckRequest(service=service)
            self.assertEqual(health.Check(request, timeout=10).status, health_pb2.HealthCheckResponse.SERVING, service)
            watches[service] = health.Watch(request, timeout=60 * harness.PATIENCE)
            self.assertEqual(next(watches[service]).status, health_pb2.HealthCheckResponse.SERVING, service)
        request = health_pb2.HealthCheckRequest(service="penstock.v1.Stage")
        with self.assertRaises(grpc.RpcError) as caught:
            health.Check(request, timeout=10)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)
        watch = health.Watch(request, timeout=10)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        watch.cancel()
        self.daemon.process.terminate()
        for service, watch in watches.items():
            self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING, service)

    def test_a_client_of_others_finds_the_services_and_calls_describe(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertEqual(sorted(database.get_services()), SERVICES)
        pool = descriptor_pool.DescriptorPool(database)
        method = pool.FindServiceByName("penstock.v1.StageServer").FindMethodByName("Describe")
        request, response = message_classes(pool, method.input_type.full_name, method.output_type.full_name)
        describe = self.channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}", request.SerializeToString,
                                            response.FromString)
        answer = describe(request(), timeout=10)
        self.assertEqual([device.name for device in answer.devices], ["cpu"])
        self.assertIn(answer.version, self.penstock("--version").out)

    def test_both_versions_answer_every_kind_of_question(self):
        stage_server, health = "penstock/v1/stage_server.proto", "grpc/health/v1/health.proto"
        for version in "v1", "v1alpha":
            reflection = Reflection(self.channel, version)
            answer, = reflection.ask({"list_services": "*"})
            self.assertEqual(sorted(service.name for service in answer.list_services_response.service), SERVICES)
            for symbol, file in (("penstock.v1.StageServer", stage_server), ("penstock.v1.StageServer.Describe", stage_server),
                                 ("penstock.v1.SessionRequest", stage_server), ("penstock.v1.SessionRequest.open", stage_server),
                                 ("penstock.v1.SessionRequest.body", stage_server),
                                 ("grpc.health.v1.HealthCheckResponse.ServingStatus", health),
                                 ("grpc.health.v1.HealthCheckResponse.SERVING", health),
                                 ("penstock.v1.StageServer.Describ", 5), ("penstock.v1", 5), ("StageServer", 5), ("", 5)):
                self.assertEqual(reflection.file_of(file_containing_symbol=symbol), file, symbol)
            self.assertEqual(reflection.file_of(file_by_filename=health), health)
            self.assertEqual(reflection.file_of(file_by_filename="health.proto"), 5)
            extension = {"containing_type": "penstock.v1.Open", "extension_number": 7}
            self.assertEqual(reflection.file_of(file_containing_extension=extension), 5)
            self.assertEqual(reflection.file_of(), 3)
            answer, unknown = reflection.ask({"all_extension_numbers_of_type": "penstock.v1.Open"},
                                             {"all_extension_numbers_of_type": "penstock.v1.StageServer"})
            self.assertEqual(answer.all_extension_numbers_response.base_type_name, "penstock.v1.Open")
            self.assertEqual(list(answer.all_extension_numbers_response.extension_number), [])
            self.assertEqual(unknown.error_response.error_code, 5)

    def test_what_is_listed_is_served(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        pool = descriptor_pool.DescriptorPool(database)
        for service in SERVICES:
            for method in pool.FindServiceByName(service).methods:
                call = self.channel.stream_stream(f"/{service}/{method.name}")(iter([b"\xff"]), timeout=20 * harness.PATIENCE)
                with contextlib.suppress(grpc.RpcError): # which it must be for what it was sent, and not for being unknown
                    list(call)
                self.assertEqual(call.code() == grpc.StatusCode.UNIMPLEMENTED, method.name in NOT_SERVED_YET, method.full_name)

    def test_a_client_that_asks_without_end_is_refused(self):
        reflection = Reflection(self.channel, "v1")
        request = reflection.request(file_by_filename="penstock/v1/stage_server.proto")
        with self.assertRaises(grpc.RpcError) as caught:
            for _ in reflection.method(iter([request] * 10000), timeout=30 * harness.PATIENCE):
                pass
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(reflection.file_of(file_by_filename="grpc/health/v1/health.proto"), "grpc/health/v1/health.proto")


if __name__ == "__main__":
    harness.main()
