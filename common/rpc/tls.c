// gRPC's credentials, made from certificates. See tls.h.
#include "common/rpc/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/strings.h"
#include "common/rpc/certificates.h"
#include "common/rpc/internal.h"

struct rpc_tls {
	char *cert_file, *key_file, *ca_file, *server_name;
	bool client_auth;

	pthread_mutex_t lock; // the rest
	struct certificates certificates;
	uint64_t generation;               // of the certificates, from 1
	grpc_channel_credentials *channel; // of the same; NULL until a client needs it: gRPC may not have begun
};

static char *copy(const char *text)
{
	return text != NULL ? strdup(text) : NULL;
}

static bool check_options(const struct rpc_tls_options *options, struct error *error)
{
	if ((options->cert_file == NULL) != (options->key_file == NULL))
		return error_set(error, ERROR_USAGE, "--tls-%s-file is missing: a certificate and its key go together",
				 options->cert_file == NULL ? "cert" : "key");
	return options->ca_file != NULL ||
	       error_set(error, ERROR_USAGE,
			 "--tls-ca-file is missing: it says which authorities' certificates are trusted");
}

bool rpc_tls_create(const struct rpc_tls_options *options, struct rpc_tls **ret_tls, struct error *error)
{
	if (!check_options(options, error))
		return false;
	struct rpc_tls *tls = calloc(1, sizeof(*tls));
	if (tls == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	pthread_mutex_init(&tls->lock, NULL);
	tls->cert_file = copy(options->cert_file);
	tls->key_file = copy(options->key_file);
	tls->ca_file = copy(options->ca_file);
	tls->server_name = copy(options->server_name);
	tls->client_auth = options->client_auth;
	bool copied = tls->ca_file != NULL && (tls->cert_file != NULL) == (options->cert_file != NULL) &&
		      (tls->key_file != NULL) == (options->key_file != NULL) &&
		      (tls->server_name != NULL) == (options->server_name != NULL);
	if ((copied || error_set(error, ERROR_FAILED, "out of memory")) && rpc_tls_reload(tls, error)) {
		*ret_tls = tls;
		return true;
	}
	rpc_tls_destroy(tls);
	return false;
}

void rpc_tls_destroy(struct rpc_tls *tls)
{
	if (tls == NULL)
		return;
	if (tls->channel != NULL)
		grpc_channel_credentials_release(tls->channel);
	certificates_fini(&tls->certificates);
	pthread_mutex_destroy(&tls->lock);
	free(tls->cert_file);
	free(tls->key_file);
	free(tls->ca_file);
	free(tls->server_name);
	free(tls);
}

bool rpc_tls_reload(struct rpc_tls *tls, struct error *error)
{
	struct rpc_tls_options files = {
		.cert_file = tls->cert_file, .key_file = tls->key_file, .ca_file = tls->ca_file};
	struct certificates certificates;
	if (!certificates_read(&files, &certificates, error))
		return false;
	pthread_mutex_lock(&tls->lock);
	struct certificates old = tls->certificates;
	grpc_channel_credentials *old_channel = tls->channel;
	tls->certificates = certificates;
	tls->channel = NULL;
	tls->generation++;
	pthread_mutex_unlock(&tls->lock);
	certificates_fini(&old);
	if (old_channel != NULL)
		grpc_channel_credentials_release(old_channel);
	return true;
}

time_t rpc_tls_expiry(struct rpc_tls *tls)
{
	pthread_mutex_lock(&tls->lock);
	time_t expiry = tls->certificates.expiry;
	pthread_mutex_unlock(&tls->lock);
	return expiry;
}

// ---- Clients

grpc_channel *tls_create_channel(struct rpc_tls *tls, const char *address, grpc_arg *args, size_t count)
{
	if (tls->server_name != NULL)
		args[count++] = (grpc_arg){.type = GRPC_ARG_STRING,
					   .key = GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
					   .value.string = tls->server_name};
	pthread_mutex_lock(&tls->lock); // the channel takes a reference of its own
	grpc_ssl_pem_key_cert_pair pair = {tls->certificates.key, tls->certificates.chain};
	if (tls->channel == NULL)
		tls->channel = grpc_ssl_credentials_create_ex(tls->certificates.authorities,
							      pair.cert_chain != NULL ? &pair : NULL, NULL, NULL);
	grpc_channel *channel = grpc_channel_create(address, tls->channel, &(grpc_channel_args){count, args});
	pthread_mutex_unlock(&tls->lock);
	return channel;
}

// ---- Servers

// gRPC calls it before each handshake, one listener's one after the other.
static grpc_ssl_certificate_config_reload_status fetch(void *user, grpc_ssl_server_certificate_config **ret_config)
{
	struct tls_listener *listener = user;
	struct rpc_tls *tls = listener->tls;
	grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
	pthread_mutex_lock(&tls->lock);
	if (listener->generation != tls->generation) {
		grpc_ssl_pem_key_cert_pair pair = {tls->certificates.key, tls->certificates.chain};
		*ret_config = grpc_ssl_server_certificate_config_create(tls->certificates.authorities, &pair, 1);
		listener->generation = tls->generation;
		status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
	}
	pthread_mutex_unlock(&tls->lock);
	return status;
}

grpc_server_credentials *tls_server_credentials(struct tls_listener *listener)
{
	return grpc_ssl_server_credentials_create_with_options(
		grpc_ssl_server_credentials_create_options_using_config_fetcher(
			listener->tls->client_auth ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
						   : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
			fetch, listener));
}

// ---- Who is at the other end

// Calls `take` with each value of a property until it says true; whether it did. `ret_any`: whether there are any.
static bool find_value(const grpc_auth_context *context, const char *property,
		       bool (*take)(const grpc_auth_property *value, void *user), void *user, bool *ret_any)
{
	grpc_auth_property_iterator values = grpc_auth_context_find_properties_by_name(context, property);
	const grpc_auth_property *value;
	*ret_any = false;
	while ((value = grpc_auth_property_iterator_next(&values)) != NULL) {
		*ret_any = true;
		if (take(value, user))
			return true;
	}
	return false;
}

// The names of the peer's certificate: the alternative ones, and only where there are none the common name, as RFC 6125
// (6.4.4) has it.
static bool find_name(grpc_call *call, bool (*take)(const grpc_auth_property *value, void *user), void *user)
{
	bool any;
	grpc_auth_context *context = grpc_call_auth_context(call);
	bool found = find_value(context, GRPC_X509_SAN_PROPERTY_NAME, take, user, &any);
	if (!found && !any)
		found = find_value(context, GRPC_X509_CN_PROPERTY_NAME, take, user, &any);
	grpc_auth_context_release(context);
	return found;
}

static bool is_tls(const grpc_auth_property *value, void *user)
{
	return strcmp(value->value, GRPC_SSL_TRANSPORT_SECURITY_TYPE) == 0;
}

bool tls_secures(grpc_call *call)
{
	bool any;
	grpc_auth_context *context = grpc_call_auth_context(call);
	bool secured = find_value(context, GRPC_TRANSPORT_SECURITY_TYPE_PROPERTY_NAME, is_tls, NULL, &any);
	grpc_auth_context_release(context);
	return secured;
}

static bool is_one_of(const grpc_auth_property *value, void *user)
{
	const struct tls_names *names = user;
	for (uint32_t i = 0; i < names->count; i++)
		if (rpc_name_matches(names->names[i], value->value, value->value_length))
			return true;
	return false;
}

bool tls_peer_is_one_of(grpc_call *call, const struct tls_names *names)
{
	return find_name(call, is_one_of, (void *)names);
}

struct listing {
	char *into;
	size_t size;
};

static bool list_name(const grpc_auth_property *value, void *user)
{
	struct listing *listing = user;
	size_t used = strlen(listing->into);
	snprintf(listing->into + used, listing->size - used, "%s%.*s", used > 0 ? ", " : "", (int)value->value_length,
		 value->value);
	return false;
}

void tls_list_names(grpc_call *call, char *into, size_t size)
{
	into[0] = '\0';
	find_name(call, list_name, &(struct listing){into, size});
	strings_make_printable(into);
}
