// Servers, clients and streams over a real loopback connection and a Unix socket.
#include "tests/unit/cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc/rpc.h"
#include "penstock/v1/stage_server.pb-c.h"

#define ECHO   "/test.Test/Echo"
#define REFUSE "/test.Test/Refuse"
#define SILENT "/test.Test/Silent"
#define BLOCK  "/test.Test/Block"

// What a stream has seen; both sides of the tests use it.
struct witness {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint32_t messages, closed;
	uint64_t bytes, wrong;
	enum rpc_status status;
	char detail[128];
};

static struct witness client_side = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static struct witness server_side = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct rpc_server *server;
static char addresses[2][64];

static void witness_reset(struct witness *witness)
{
	pthread_mutex_lock(&witness->lock);
	witness->messages = witness->closed = 0;
	witness->bytes = witness->wrong = 0;
	pthread_mutex_unlock(&witness->lock);
}

static void witness_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	struct witness *witness = user;
	pthread_mutex_lock(&witness->lock);
	witness->closed++;
	witness->status = status;
	snprintf(witness->detail, sizeof(witness->detail), "%s", detail);
	pthread_cond_broadcast(&witness->changed);
	pthread_mutex_unlock(&witness->lock);
}

static void wait_for(struct witness *witness, uint32_t messages, uint32_t closed)
{
	pthread_mutex_lock(&witness->lock);
	while (witness->messages < messages || witness->closed < closed)
		pthread_cond_wait(&witness->changed, &witness->lock);
	pthread_mutex_unlock(&witness->lock);
}

// ---- The server: Echo sends every message back, with its payload

static void echo(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	Penstock__V1__ExchangeMessage *message = (Penstock__V1__ExchangeMessage *)rpc_incoming_unpack(
		incoming, &penstock__v1__exchange_message__descriptor, NULL, NULL);
	if (message == NULL) {
		rpc_stream_finish(stream, RPC_INVALID_ARGUMENT, "not a message");
		return;
	}
	struct buffer *payload = buffer_create(rpc_incoming_payload_size(incoming) + 1);
	rpc_incoming_copy_payload(incoming, payload->data);
	rpc_stream_send(stream, &message->base, payload, 0, rpc_incoming_payload_size(incoming));
	buffer_unref(payload);
	penstock__v1__exchange_message__free_unpacked(message, NULL);
}

static void finish_well(struct rpc_stream *stream, void *user)
{
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void server_stream_closed(struct rpc_stream *stream, enum rpc_status status, const char *detail, void *user)
{
	witness_closed(stream, status, detail, user);
	rpc_stream_unref(stream);
}

static void handle_echo(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {
		.message = echo, .half_closed = finish_well, .closed = server_stream_closed};
	rpc_stream_accept(stream, &events, &server_side);
}

static void handle_refuse(struct rpc_stream *stream, void *user)
{
	rpc_stream_finish(stream, RPC_PERMISSION_DENIED, "not you");
	rpc_stream_unref(stream);
}

static void ignore(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
}

// A mistake on purpose: a callback that waits.
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void handle_block(struct rpc_stream *stream, void *user)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	handle_refuse(stream, user);
}

static void handle_silent(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {.message = ignore, .closed = server_stream_closed};
	rpc_stream_accept(stream, &events, &server_side);
}

static int start_server(void **state)
{
	static const struct rpc_method methods[] = {{.name = ECHO, .handler = handle_echo},
						    {.name = REFUSE, .handler = handle_refuse},
						    {.name = SILENT, .handler = handle_silent},
						    {.name = BLOCK, .handler = handle_block}};
	static char socket_address[64];
	snprintf(socket_address, sizeof(socket_address), "unix:/tmp/penstock-test-%d.sock", (int)getpid());
	const char *listen[] = {"127.0.0.1:0", socket_address};
	struct error error;
	if (!rpc_start(2, &error) ||
	    !rpc_server_start(&(struct rpc_server_options){.addresses = listen, .address_count = 2}, methods, 4,
			      &server, &error)) {
		fprintf(stderr, "%s\n", error.message);
		return 1;
	}
	snprintf(addresses[0], sizeof(addresses[0]), "127.0.0.1:%d", rpc_server_port(server, 0));
	snprintf(addresses[1], sizeof(addresses[1]), "%s", socket_address);
	return 0;
}

static int stop_server(void **state)
{
	rpc_server_stop(server);
	rpc_server_destroy(server);
	rpc_stop();
	unlink(addresses[1] + strlen("unix:"));
	return 0;
}

// ---- The client

static void check_echo(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	struct witness *witness = user;
	size_t size = rpc_incoming_payload_size(incoming);
	uint8_t *copy = malloc(size + 1);
	rpc_incoming_copy_payload(incoming, copy);
	pthread_mutex_lock(&witness->lock);
	for (size_t i = 0; i < size; i++)
		witness->wrong += copy[i] != (uint8_t)(witness->messages + i * 7);
	witness->messages++;
	witness->bytes += size;
	pthread_cond_broadcast(&witness->changed);
	pthread_mutex_unlock(&witness->lock);
	free(copy);
}

static const struct rpc_stream_events client_events = {.message = check_echo, .closed = witness_closed};

static struct rpc_client *connect_to(const char *address)
{
	struct rpc_client *client = NULL;
	struct error error;
	witness_reset(&client_side);
	witness_reset(&server_side);
	assert_true(rpc_client_create(address, &(struct rpc_client_options){.keepalive_ms = 1000}, &client, &error));
	return client;
}

static void send_some(struct rpc_stream *stream, uint32_t count, size_t size)
{
	Penstock__V1__TensorChunk chunk = PENSTOCK__V1__TENSOR_CHUNK__INIT;
	Penstock__V1__ExchangeMessage header = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	header.body_case = PENSTOCK__V1__EXCHANGE_MESSAGE__BODY_CHUNK;
	header.chunk = &chunk;
	for (uint32_t m = 0; m < count; m++) {
		struct buffer *payload = buffer_create(size);
		for (size_t i = 0; i < size; i++)
			payload->data[i] = (uint8_t)(m + i * 7);
		assert_true(rpc_stream_send(stream, &header.base, payload, 0, size));
		buffer_unref(payload);
	}
}

static void echo_over(const char *address)
{
	struct rpc_client *client = connect_to(address);
	struct rpc_stream *stream = rpc_client_stream(client, ECHO, 0, &client_events, &client_side);
	send_some(stream, 20, 300000);
	rpc_stream_half_close(stream);
	wait_for(&client_side, 20, 1);
	assert_int_equal(client_side.bytes, 20 * 300000);
	assert_int_equal(client_side.wrong, 0);
	assert_int_equal(client_side.status, RPC_OK);
	Penstock__V1__ExchangeMessage late = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	assert_false(rpc_stream_send(stream, &late.base, NULL, 0, 0));
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
	wait_for(&server_side, 0, 1);
}

static void rpc_stream_echo_comes_back_in_order_over_tcp(void **state)
{
	echo_over(addresses[0]);
}

static void rpc_stream_echo_comes_back_in_order_over_unix_socket(void **state)
{
	echo_over(addresses[1]);
}

static void check_echo_and_hold(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	rpc_stream_hold(stream);
	check_echo(stream, incoming, user);
}

static void rpc_stream_hold_keeps_back_the_next_message_until_resume(void **state)
{
	static const struct rpc_stream_events events = {.message = check_echo_and_hold, .closed = witness_closed};
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *stream = rpc_client_stream(client, ECHO, 0, &events, &client_side);
	send_some(stream, 3, 1000);
	for (uint32_t messages = 1; messages < 3; messages++) {
		wait_for(&client_side, messages, 0);
		// A whole call more on the same connection: time for a message that is not kept back.
		Penstock__V1__ExchangeMessage request = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
		ProtobufCMessage *response = NULL;
		assert_true(rpc_client_call(client, ECHO, 5000, &request.base,
					    &penstock__v1__exchange_message__descriptor, &response, NULL));
		protobuf_c_message_free_unpacked(response, NULL);
		assert_int_equal(client_side.messages, messages);
		rpc_stream_resume(stream);
	}
	wait_for(&client_side, 3, 0);
	rpc_stream_cancel(stream);
	rpc_stream_resume(stream); // held by the third
	wait_for(&client_side, 3, 1);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

static void rpc_stream_cancel_closes_both_sides_once(void **state)
{
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *stream = rpc_client_stream(client, SILENT, 0, &client_events, &client_side);
	send_some(stream, 3, 100);
	rpc_stream_cancel(stream);
	wait_for(&client_side, 0, 1);
	rpc_stream_cancel(stream);
	assert_int_equal(client_side.status, RPC_CANCELLED);
	assert_int_equal(client_side.closed, 1);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

static void rpc_stream_refused_call_reports_status_and_words(void **state)
{
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *stream = rpc_client_stream(client, REFUSE, 0, &client_events, &client_side);
	wait_for(&client_side, 0, 1);
	assert_int_equal(client_side.status, RPC_PERMISSION_DENIED);
	assert_string_equal(client_side.detail, "not you");
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

static void rpc_server_unknown_method_is_unimplemented(void **state)
{
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *stream = rpc_client_stream(client, "/test.Test/Nothing", 0, &client_events, &client_side);
	wait_for(&client_side, 0, 1);
	assert_int_equal(client_side.status, RPC_UNIMPLEMENTED);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

static void rpc_client_stream_deadline_passes_closes(void **state)
{
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *stream = rpc_client_stream(client, SILENT, 50, &client_events, &client_side);
	wait_for(&client_side, 0, 1);
	assert_int_equal(client_side.status, RPC_DEADLINE_EXCEEDED);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

static void rpc_client_call_answers_or_names_what_failed(void **state)
{
	struct rpc_client *client = connect_to(addresses[0]);
	Penstock__V1__ExchangeMessage request = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	ProtobufCMessage *response = NULL;
	struct error error;
	assert_true(rpc_client_call(client, ECHO, 5000, &request.base, &penstock__v1__exchange_message__descriptor,
				    &response, &error));
	protobuf_c_message_free_unpacked(response, NULL);
	assert_false(rpc_client_call(client, REFUSE, 5000, &request.base, &penstock__v1__exchange_message__descriptor,
				     &response, &error));
	assert_non_null(strstr(error.message, "not you"));
	rpc_client_destroy(client);
}

static void rpc_client_call_nobody_there_is_unreachable(void **state)
{
	struct rpc_client *client = connect_to("unix:/tmp/penstock-test-nobody.sock");
	Penstock__V1__ExchangeMessage request = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	ProtobufCMessage *response = NULL;
	struct error error;
	assert_false(rpc_client_call(client, ECHO, 5000, &request.base, &penstock__v1__exchange_message__descriptor,
				     &response, &error));
	assert_int_equal(error.code, ERROR_UNREACHABLE);
	rpc_client_destroy(client);
}

static void rpc_server_start_address_in_use_is_refused(void **state)
{
	struct rpc_server *second = NULL;
	struct error error;
	const char *listen[] = {"127.0.0.1:0", addresses[0]};
	static const struct rpc_method method = {.name = ECHO, .handler = handle_echo};
	assert_false(rpc_server_start(&(struct rpc_server_options){.addresses = listen, .address_count = 2}, &method, 1,
				      &second, &error));
	assert_non_null(strstr(error.message, addresses[0]));
}

static void rpc_server_stop_ends_calls_that_run(void **state)
{
	static const struct rpc_method method = {.name = SILENT, .handler = handle_silent};
	const char *listen = "127.0.0.1:0";
	struct rpc_server *other = NULL;
	struct error error;
	char address[64];
	assert_true(rpc_server_start(&(struct rpc_server_options){.addresses = &listen, .address_count = 1}, &method, 1,
				     &other, &error));
	snprintf(address, sizeof(address), "127.0.0.1:%d", rpc_server_port(other, 0));
	struct rpc_client *client = connect_to(address);
	struct rpc_stream *stream = rpc_client_stream(client, SILENT, 0, &client_events, &client_side);
	send_some(stream, 1, 10);
	rpc_server_stop(other);
	rpc_server_destroy(other);
	wait_for(&client_side, 0, 1);
	assert_int_not_equal(client_side.status, RPC_OK);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
}

// ---- A client that does not read

static uint32_t hits;

static void count_hit(enum rpc_limit limit, const char *detail, void *user)
{
	assert_int_equal(limit, RPC_LIMIT_BUFFERED);
	hits++;
}

// Fills what the network takes, by payloads, which are not counted; then sends until it is refused.
static void answer_without_end(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	Penstock__V1__ExchangeMessage message = PENSTOCK__V1__EXCHANGE_MESSAGE__INIT;
	struct buffer *payload = buffer_create(4 << 20);
	struct witness *witness = user;
	memset(payload->data, 0, 4 << 20);
	bool takes = true;
	for (int i = 0; i < 32 && takes; i++)
		takes = rpc_stream_send(stream, &message.base, payload, 0, 4 << 20);
	assert_true(takes);
	buffer_unref(payload);
	for (int i = 0; i < 1000000 && takes; i++)
		takes = rpc_stream_send(stream, &message.base, NULL, 0, 0);
	pthread_mutex_lock(&witness->lock);
	witness->messages += !takes;
	pthread_cond_broadcast(&witness->changed);
	pthread_mutex_unlock(&witness->lock);
}

static void handle_endless(struct rpc_stream *stream, void *user)
{
	static const struct rpc_stream_events events = {.message = answer_without_end, .closed = server_stream_closed};
	rpc_stream_accept(stream, &events, &server_side);
}

static void hold(struct rpc_stream *stream, const struct rpc_incoming *incoming, void *user)
{
	rpc_stream_hold(stream);
}

static void rpc_stream_send_to_a_peer_that_does_not_read_ends_at_the_limit(void **state)
{
	static const struct rpc_method method = {ECHO, handle_endless, NULL, false};
	static const struct rpc_server_events events = {.limit_hit = count_hit};
	static const struct rpc_stream_events holding = {.message = hold, .closed = witness_closed};
	const char *listen = "127.0.0.1:0";
	struct rpc_server *other = NULL;
	struct error error;
	char address[64];
	struct rpc_server_options options = {
		.addresses = &listen, .address_count = 1, .maximum_buffered_bytes = 64 << 20, .events = &events};
	assert_true(rpc_server_start(&options, &method, 1, &other, &error));
	snprintf(address, sizeof(address), "127.0.0.1:%d", rpc_server_port(other, 0));
	struct rpc_client *client = connect_to(address);
	struct rpc_stream *stream = rpc_client_stream(client, ECHO, 0, &holding, &client_side);
	send_some(stream, 1, 10);
	wait_for(&server_side, 1, 1);
	assert_int_equal(server_side.status, RPC_CANCELLED);
	assert_int_equal(hits, 1);
	rpc_stream_cancel(stream);
	wait_for(&client_side, 0, 1);
	rpc_stream_unref(stream);
	rpc_client_destroy(client);
	rpc_server_stop(other);
	rpc_server_destroy(other);
}

// Asks until the answer is past `ns`, or not.
static void wait_for_lag(uint64_t ns, bool past)
{
	while ((rpc_lag_ns() > ns) != past)
		usleep(1000);
}

static void rpc_lag_ns_grows_while_all_threads_are_busy_and_falls_again(void **state)
{
	enum { BUSY_NS = 50 * 1000000 };
	struct rpc_client *client = connect_to(addresses[0]);
	struct rpc_stream *streams[2];
	witness_reset(&client_side);
	wait_for_lag(BUSY_NS, false);
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 2; i++)
		streams[i] = rpc_client_stream(client, BLOCK, 0, &client_events, &client_side);
	wait_for_lag(BUSY_NS, true);
	pthread_mutex_unlock(&gate);
	wait_for_lag(BUSY_NS, false);
	wait_for(&client_side, 0, 2);
	for (int i = 0; i < 2; i++)
		rpc_stream_unref(streams[i]);
	rpc_client_destroy(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpc_stream_echo_comes_back_in_order_over_tcp),
		cmocka_unit_test(rpc_stream_echo_comes_back_in_order_over_unix_socket),
		cmocka_unit_test(rpc_stream_hold_keeps_back_the_next_message_until_resume),
		cmocka_unit_test(rpc_stream_cancel_closes_both_sides_once),
		cmocka_unit_test(rpc_stream_refused_call_reports_status_and_words),
		cmocka_unit_test(rpc_server_unknown_method_is_unimplemented),
		cmocka_unit_test(rpc_client_stream_deadline_passes_closes),
		cmocka_unit_test(rpc_client_call_answers_or_names_what_failed),
		cmocka_unit_test(rpc_client_call_nobody_there_is_unreachable),
		cmocka_unit_test(rpc_server_start_address_in_use_is_refused),
		cmocka_unit_test(rpc_server_stop_ends_calls_that_run),
		cmocka_unit_test(rpc_lag_ns_grows_while_all_threads_are_busy_and_falls_again),
		cmocka_unit_test(rpc_stream_send_to_a_peer_that_does_not_read_ends_at_the_limit),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
