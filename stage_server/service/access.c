// See access.h.
#include "stage_server/service/access.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/clock.h"
#include "common/base/log_rate.h"

enum { EXPIRY_WARNING_S = 14 * 86400 };

static const struct metric_family expiry_family = {"penstock_tls_certificate_expiry_timestamp_seconds",
						   "Unix time at which the certificate in use expires.", METRIC_GAUGE,
						   1.0};
static const struct metric_family reloads_family = {
	"penstock_tls_reloads_total", "Times that the TLS files were read again, by result.", METRIC_COUNTER, 1.0};
static const struct metric_family refused_family = {
	"penstock_refused_calls_total", "Calls from certificates whose names are not allowed.", METRIC_COUNTER, 1.0};

struct access {
	struct rpc_tls *tls; // NULL: without
	struct metric *expiry, *reloads_done, *reloads_failed, *refused;
	struct log_rate refusals;
};

static bool check_listen(const struct daemon_options *options, bool has_tls, struct error *error)
{
	for (uint32_t i = 0; i < options->listen.count; i++)
		if (!address_parse(options->listen.values[i], ADDRESS_WHOLE, NULL, error))
			return error_wrap(error, "--listen");
	for (uint32_t i = 0; i < options->listen.count && !has_tls && !options->insecure; i++)
		if (!address_is_local(options->listen.values[i]))
			return error_set(error, ERROR_USAGE,
					 "--listen %s: other machines can reach this address, and without TLS anyone "
					 "could train here: give --tls-cert-file, --tls-key-file and --tls-ca-file, or "
					 "--insecure if you trust the network",
					 options->listen.values[i]);
	return true;
}

static bool check_options(const struct daemon_options *options, bool has_tls, struct error *error)
{
	if (options->tls_ca_file != NULL && options->tls_cert_file == NULL && options->tls_key_file == NULL)
		return error_set(error, ERROR_USAGE,
				 "--tls-ca-file alone is not enough: give --tls-cert-file and --tls-key-file, too");
	if (has_tls && options->insecure)
		return error_set(error, ERROR_USAGE, "--insecure and --tls-cert-file exclude each other");
	if (!has_tls && options->tls_client_auth == CLIENT_AUTH_NONE)
		return error_set(error, ERROR_USAGE, "--tls-client-auth has no meaning without --tls-cert-file");
	if (!has_tls && options->tls_server_name != NULL)
		return error_set(error, ERROR_USAGE, "--tls-server-name has no meaning without --tls-cert-file");
	if (options->allow_name.count > 0 && (!has_tls || options->tls_client_auth == CLIENT_AUTH_NONE))
		return error_set(error, ERROR_USAGE, "--allow-name needs callers with certificates: %s",
				 has_tls ? "use --tls-client-auth require" : "give --tls-cert-file, too");
	for (uint32_t i = 0; i < options->allow_name.count; i++)
		if (!rpc_name_check(options->allow_name.values[i], error))
			return error_wrap(error, "--allow-name");
	return check_listen(options, has_tls, error);
}

// `*ret_tls` is NULL without TLS.
static bool open_tls(const struct daemon_options *options, struct rpc_tls **ret_tls, struct error *error)
{
	bool has_tls = options->tls_cert_file != NULL || options->tls_key_file != NULL;
	struct rpc_tls_options tls = {.cert_file = options->tls_cert_file,
				      .key_file = options->tls_key_file,
				      .ca_file = options->tls_ca_file,
				      .server_name = options->tls_server_name,
				      .client_auth = options->tls_client_auth == CLIENT_AUTH_REQUIRE};
	*ret_tls = NULL;
	return check_options(options, has_tls, error) && (!has_tls || rpc_tls_create(&tls, ret_tls, error));
}

static void note_expiry(struct access *access)
{
	time_t expiry = rpc_tls_expiry(access->tls), now = time(NULL);
	metric_set(access->expiry, (uint64_t)expiry);
	if (expiry - now < EXPIRY_WARNING_S)
		log_warning("the certificate expires in %" PRId64 " hours: issue a new one, and send SIGHUP",
			    (int64_t)(expiry - now) / 3600);
}

bool access_create(const struct daemon_options *options, struct metrics *metrics, struct access **ret_access,
		   struct error *error)
{
	struct rpc_tls *tls;
	if (!open_tls(options, &tls, error))
		return false;
	struct access *access = calloc(1, sizeof(*access));
	if (access == NULL) {
		rpc_tls_destroy(tls);
		return error_set(error, ERROR_FAILED, "out of memory");
	}
	access->tls = tls;
	if (tls != NULL) {
		access->expiry = metrics_series(metrics, &expiry_family, "");
		access->reloads_done = metrics_series(metrics, &reloads_family, "result=\"done\"");
		access->reloads_failed = metrics_series(metrics, &reloads_family, "result=\"failed\"");
		access->refused = metrics_series(metrics, &refused_family, "");
		note_expiry(access);
	}
	*ret_access = access;
	return true;
}

void access_destroy(struct access *access)
{
	if (access == NULL)
		return;
	rpc_tls_destroy(access->tls);
	free(access);
}

bool access_check(const struct daemon_options *options, struct error *error)
{
	struct rpc_tls *tls;
	if (!open_tls(options, &tls, error))
		return false;
	rpc_tls_destroy(tls);
	return true;
}

struct rpc_tls *access_tls(const struct access *access)
{
	return access->tls;
}

bool access_reload(struct access *access, struct error *error)
{
	if (access->tls == NULL)
		return true;
	if (!rpc_tls_reload(access->tls, error))
		return false;
	log_info("the TLS files were read again");
	note_expiry(access);
	return true;
}

void access_count_reload(struct access *access, bool done)
{
	if (access->tls != NULL)
		metric_add(done ? access->reloads_done : access->reloads_failed, 1);
}

void access_refused(struct rpc_stream *stream, const char *method, struct access *access)
{
	uint64_t unlogged;
	char names[200];
	metric_add(access->refused, 1);
	if (!log_rate_allows(&access->refusals, clock_now_ns(), &unlogged))
		return;
	rpc_stream_peer_names(stream, names, sizeof(names));
	log_warning("refused %s from %s: its certificate's names (%s) are not in --allow-name; %" PRIu64
		    " more since the last such line",
		    method, rpc_stream_peer(stream), names, unlogged);
}
