// The files that TLS is made of: what is refused, and what a reload changes. Certificates signed by themselves are enough here;
// tests/integration/test_tls.py has an authority's.
#include "tests/unit/cmocka_all.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/rpc/tls.h"

enum { DAY = 86400 };

static char folder[] = "/tmp/penstock-test-XXXXXX";
static char cert_path[64], key_path[64], other_key_path[64];

static void write_key(EVP_PKEY *key, const char *path)
{
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
}

// Valid from `begin` to `end`, in seconds from now; its key goes to key_path.
static void write_certificate(long begin, long end)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	assert_true(key != NULL && certificate != NULL);
	X509_set_version(certificate, X509_VERSION_3);
	X509_gmtime_adj(X509_getm_notBefore(certificate), begin);
	X509_gmtime_adj(X509_getm_notAfter(certificate), end);
	X509_set_pubkey(certificate, key);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	FILE *file = fopen(cert_path, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, certificate), 1);
	fclose(file);
	write_key(key, key_path);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static struct rpc_tls_options files(const char *key)
{
	return (struct rpc_tls_options){.cert_file = cert_path, .key_file = key, .ca_file = cert_path};
}

static void assert_refused(const struct rpc_tls_options *options, const char *words)
{
	struct rpc_tls *tls = NULL;
	struct error error = {0};
	assert_false(rpc_tls_create(options, &tls, &error));
	assert_null(tls);
	assert_int_equal(error.code, ERROR_USAGE);
	if (strstr(error.message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

static void rpc_tls_create_dates_are_checked(void **state)
{
	struct rpc_tls_options options = files(key_path);
	write_certificate(-2 * DAY, -DAY);
	assert_refused(&options, "expired on 2");
	write_certificate(DAY, 2 * DAY);
	assert_refused(&options, "valid only from 2");
}

static void rpc_tls_create_missing_files_are_named(void **state)
{
	struct rpc_tls_options options = {.cert_file = cert_path, .ca_file = cert_path};
	write_certificate(-DAY, DAY);
	assert_refused(&options, "--tls-key-file is missing");
	options = (struct rpc_tls_options){.key_file = key_path, .ca_file = cert_path};
	assert_refused(&options, "--tls-cert-file is missing");
	options = (struct rpc_tls_options){.cert_file = cert_path, .key_file = key_path};
	assert_refused(&options, "--tls-ca-file is missing");
	options = files(folder); // a folder opens, and cannot be read
	assert_refused(&options, "--tls-key-file /tmp/penstock-test-");
}

static void rpc_tls_create_key_of_another_is_refused(void **state)
{
	struct rpc_tls_options options = files(other_key_path);
	EVP_PKEY *other = EVP_EC_gen("P-256");
	write_certificate(-DAY, DAY);
	write_key(other, other_key_path);
	EVP_PKEY_free(other);
	assert_refused(&options, "is not the key of the certificate");
}

static void rpc_tls_reload_failing_changes_nothing(void **state)
{
	struct rpc_tls_options options = files(key_path);
	struct rpc_tls *tls = NULL;
	struct error error = {0};
	write_certificate(-DAY, DAY);
	assert_true(rpc_tls_create(&options, &tls, &error));
	time_t first = rpc_tls_expiry(tls);
	assert_true(labs((long)(first - time(NULL)) - DAY) < 60);
	write_certificate(-2 * DAY, -DAY);
	assert_false(rpc_tls_reload(tls, &error));
	assert_non_null(strstr(error.message, "expired"));
	assert_true(rpc_tls_expiry(tls) == first);
	write_certificate(-DAY, 3 * DAY);
	assert_true(rpc_tls_reload(tls, &error));
	assert_true(rpc_tls_expiry(tls) >= first + 2 * DAY - 1);
	rpc_tls_destroy(tls);
}

static void rpc_tls_create_without_certificate_trusts_only(void **state)
{
	struct rpc_tls_options options = {.ca_file = cert_path};
	struct rpc_tls *tls = NULL;
	struct error error = {0};
	write_certificate(-DAY, DAY);
	assert_true(rpc_tls_create(&options, &tls, &error));
	assert_true(rpc_tls_expiry(tls) == 0);
	rpc_tls_destroy(tls);
}

static int make_folder(void **state)
{
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", folder);
	snprintf(key_path, sizeof(key_path), "%s/key.pem", folder);
	snprintf(other_key_path, sizeof(other_key_path), "%s/other.pem", folder);
	return 0;
}

static int remove_folder(void **state)
{
	unlink(cert_path);
	unlink(key_path);
	unlink(other_key_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rpc_tls_create_dates_are_checked),
		cmocka_unit_test(rpc_tls_create_missing_files_are_named),
		cmocka_unit_test(rpc_tls_create_key_of_another_is_refused),
		cmocka_unit_test(rpc_tls_reload_failing_changes_nothing),
		cmocka_unit_test(rpc_tls_create_without_certificate_trusts_only),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
