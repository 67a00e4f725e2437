// See certificates.h.
#include "common/rpc/certificates.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/file.h"

enum { MAXIMUM_FILE_BYTES = 4 << 20 }; // a distribution's bundle of authorities is a quarter of a MiB

static void free_text(char *text)
{
	if (text != NULL)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

// The whole file, ended with a zero; NULL with an error. Returns owned.
static char *read_file(const char *option, const char *path, struct error *error)
{
	char *text;
	size_t size;
	if (!file_read(path, MAXIMUM_FILE_BYTES, &text, &size, error)) {
		error_wrap(error, "--%s %s", option, path);
		return NULL;
	}
	if (memchr(text, '\0', size) == NULL)
		return text;
	error_set(error, ERROR_USAGE, "--%s %s: not a PEM file", option, path);
	OPENSSL_cleanse(text, size);
	free(text);
	return NULL;
}

static BIO *open_text(const char *text)
{
	return BIO_new_mem_buf(text, -1);
}

static void format_day(const ASN1_TIME *time, char *into, size_t size)
{
	struct tm tm = {0};
	ASN1_TIME_to_tm(time, &tm);
	strftime(into, size, "%Y-%m-%d %H:%M:%S UTC", &tm);
}

static bool check_dates(const char *option, const char *path, const X509 *certificate, struct error *error)
{
	char day[40];
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0) {
		format_day(X509_get0_notAfter(certificate), day, sizeof(day));
		return error_set(error, ERROR_USAGE, "--%s %s: the certificate expired on %s: issue a new one", option,
				 path, day);
	}
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
		format_day(X509_get0_notBefore(certificate), day, sizeof(day));
		return error_set(error, ERROR_USAGE,
				 "--%s %s: the certificate is valid only from %s on: is this machine's clock right?",
				 option, path, day);
	}
	return true;
}

enum found { FOUND, FOUND_NOTHING, FOUND_BROKEN };

// The next certificate of a file, which may hold other things. Returns owned. gRPC takes those before a broken one, and says
// nothing: a file that was being written would count as whole.
static enum found next_certificate(BIO *bio, X509 **ret_certificate)
{
	ERR_clear_error();
	X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	if (certificate != NULL) {
		*ret_certificate = certificate;
		return FOUND;
	}
	return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE ? FOUND_NOTHING : FOUND_BROKEN;
}

static bool refuse_broken(const char *option, const char *path, struct error *error)
{
	return error_set(error, ERROR_USAGE, "--%s %s: it contains a broken or incomplete certificate", option, path);
}

static int no_passphrase(char *buffer, int size, int writing, void *asked)
{
	*(bool *)asked = true;
	return -1;
}

static EVP_PKEY *read_key(const struct rpc_tls_options *files, const char *text, struct error *error)
{
	bool asked = false;
	BIO *bio = open_text(text);
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
	BIO_free(bio);
	if (key == NULL)
		error_set(error, ERROR_USAGE,
			  asked ? "--tls-key-file %s: the key has a passphrase: store it without one (openssl pkey), "
				  "readable only by its user"
				: "--tls-key-file %s: holds no private key in PEM",
			  files->key_file);
	return key;
}

static bool refuse_unusable(const struct rpc_tls_options *files, struct error *error)
{
	const char *why = ERR_reason_error_string(ERR_peek_error());
	return error_set(error, ERROR_USAGE, "--tls-cert-file %s: OpenSSL refuses it for TLS: %s", files->cert_file,
			 why != NULL ? why : "no further reason is given");
}

// What a handshake would do with them, by the machine's rules for keys and digests (openssl.cnf): gRPC, which does the same for
// each new file, would keep the old ones without a word to us, and not listen at all at the start. `rest` is behind the
// chain's first certificate.
static bool check_use(const struct rpc_tls_options *files, X509 *first, BIO *rest, EVP_PKEY *key, struct error *error)
{
	X509 *certificate;
	enum found found = FOUND_NOTHING;
	ERR_clear_error();
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	bool ok = context != NULL && SSL_CTX_use_certificate(context, first) == 1 &&
		  SSL_CTX_use_PrivateKey(context, key) == 1;
	while (ok && (found = next_certificate(rest, &certificate)) == FOUND) {
		ok = SSL_CTX_add1_chain_cert(context, certificate) == 1;
		X509_free(certificate);
	}
	if (!ok)
		refuse_unusable(files, error);
	else if (found == FOUND_BROKEN)
		ok = refuse_broken("tls-cert-file", files->cert_file, error);
	SSL_CTX_free(context);
	return ok;
}

static bool check_key(const struct rpc_tls_options *files, const char *text, X509 *certificate, BIO *rest,
		      struct error *error)
{
	EVP_PKEY *key = read_key(files, text, error);
	bool ok = key != NULL;
	if (ok && X509_check_private_key(certificate, key) != 1)
		ok = error_set(error, ERROR_USAGE,
			       "--tls-key-file %s: is not the key of the certificate in --tls-cert-file %s",
			       files->key_file, files->cert_file);
	ok = ok && check_use(files, certificate, rest, key, error);
	EVP_PKEY_free(key);
	return ok;
}

static bool read_chain(const struct rpc_tls_options *files, struct certificates *certificates, struct error *error)
{
	certificates->chain = read_file("tls-cert-file", files->cert_file, error);
	if (certificates->chain == NULL)
		return false;
	certificates->key = read_file("tls-key-file", files->key_file, error);
	if (certificates->key == NULL)
		return false;
	BIO *bio = open_text(certificates->chain);
	if (bio == NULL)
		return error_set(error, ERROR_FAILED, "out of memory");
	X509 *certificate = NULL;
	struct tm tm = {0};
	enum found found = next_certificate(bio, &certificate);
	if (found == FOUND_NOTHING)
		error_set(error, ERROR_USAGE, "--tls-cert-file %s: holds no certificate in PEM", files->cert_file);
	else if (found == FOUND_BROKEN)
		refuse_broken("tls-cert-file", files->cert_file, error);
	bool ok = found == FOUND && check_dates("tls-cert-file", files->cert_file, certificate, error) &&
		  check_key(files, certificates->key, certificate, bio, error);
	if (ok && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1)
		certificates->expiry = timegm(&tm);
	X509_free(certificate);
	BIO_free(bio);
	return ok;
}

// One authority that is valid is enough: the old and the new one stand side by side while they are changed.
static bool read_authorities(const struct rpc_tls_options *files, struct certificates *certificates,
			     struct error *error)
{
	certificates->authorities = read_file("tls-ca-file", files->ca_file, error);
	BIO *bio = certificates->authorities != NULL ? open_text(certificates->authorities) : NULL;
	if (bio == NULL)
		return certificates->authorities == NULL ? false : error_set(error, ERROR_FAILED, "out of memory");
	bool some = false, valid = false;
	enum found found;
	X509 *certificate;
	while ((found = next_certificate(bio, &certificate)) == FOUND) {
		some = true;
		valid = valid || check_dates("tls-ca-file", files->ca_file, certificate, error);
		X509_free(certificate);
	}
	BIO_free(bio);
	if (found == FOUND_BROKEN)
		return refuse_broken("tls-ca-file", files->ca_file, error);
	if (!some)
		error_set(error, ERROR_USAGE, "--tls-ca-file %s: holds no certificate in PEM", files->ca_file);
	return valid;
}

bool certificates_read(const struct rpc_tls_options *files, struct certificates *ret_certificates, struct error *error)
{
	struct certificates certificates = {0};
	bool ok = read_authorities(files, &certificates, error) &&
		  (files->cert_file == NULL || read_chain(files, &certificates, error));
	ERR_clear_error(); // a file's end, read by PEM_read, is one
	if (ok)
		*ret_certificates = certificates;
	else
		certificates_fini(&certificates);
	return ok;
}

void certificates_fini(struct certificates *certificates)
{
	free(certificates->chain);
	free(certificates->authorities);
	free_text(certificates->key);
	*certificates = (struct certificates){0};
}
