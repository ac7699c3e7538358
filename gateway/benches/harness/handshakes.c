/* New TLS connections with one request each, never resumed. (wrk and h2load both resume, so they cannot measure this.)
 *
 *   handshakes PORT PATH CONNECTIONS SECONDS
 *
 * Keeps CONNECTIONS connections to 127.0.0.1 under way for SECONDS: TCP, TLS 1.3 (X25519, AES-128-GCM), one GET with
 * `Connection: close`, read to the end of the connection, and the next. Prints one line of JSON: requests that were
 * answered with 200 and a body as long as announced, the others by kind, and the times from connect to end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, HEAD_MAX = 8192, SAMPLES_MAX = 4 << 20, LATE_NS = 2000000000 };
enum step { CONNECTING, SHAKING, SENDING, READING };

struct client {
    int fd;
    enum step step;
    SSL *ssl;
    long long begun;
    long received;        /* body bytes */
    long announced;       /* content-length, -1: none seen yet */
    size_t filled;        /* of head; HEAD_MAX: the head is over */
    char head[HEAD_MAX + 1];
};

static struct client clients[CONNECTIONS_MAX];
static struct sockaddr_in address = {.sin_family = AF_INET};
static char request[512];
static int request_length, poller;
static SSL_CTX *context;
static unsigned *samples_us;
static long good, bad_connect, bad_tls, bad_response, resumed, late;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "handshakes: %s\n", what);
    exit(1);
}

static void begin(struct client *c) {
    int on = 1;
    c->begun = now_ns();
    c->step = CONNECTING;
    c->received = 0;
    c->announced = -1;
    c->filled = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("no socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        die("cannot connect");
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_connect_state(c->ssl);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event);
}

static void end(struct client *c, long *count) {
    (*count)++;
    if (count == &good)
        samples_us[(good - 1) % SAMPLES_MAX] = (unsigned)((now_ns() - c->begun) / 1000);
    SSL_free(c->ssl);
    close(c->fd);
    ERR_clear_error();
    begin(c);
}

/* Takes the head from what was read; `data` is counted as body once the head is over. 0: this is not a response. */
static int take(struct client *c, const char *data, size_t length) {
    if (c->filled < HEAD_MAX) {
        size_t before = c->filled, room = HEAD_MAX - before, taken = length < room ? length : room;
        memcpy(c->head + before, data, taken);
        c->filled += taken;
        c->head[c->filled] = 0;
        char *over = strstr(c->head, "\r\n\r\n");
        if (!over)
            return c->filled < HEAD_MAX;
        *over = 0;
        char *field = strcasestr(c->head, "\r\ncontent-length:");
        if (strncmp(c->head, "HTTP/1.1 200", 12) != 0 || !field)
            return 0;
        c->announced = atol(field + 17);
        size_t head = (size_t)(over - c->head) + 4 - before;
        data += head;
        length -= head;
        c->filled = HEAD_MAX;
    }
    c->received += (long)length;
    return 1;
}

/* Goes as far as the socket allows. Returns the count that the connection ended in, or NULL while it goes on. */
static long *go_on(struct client *c, uint32_t events) {
    static char buffer[65536];
    int n;
    if (c->step == CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP))
            return &bad_connect;
        if (!(events & EPOLLOUT))
            return NULL;
        c->step = SHAKING;
    }
    if (c->step == SHAKING) {
        if ((n = SSL_do_handshake(c->ssl)) != 1) {
            n = SSL_get_error(c->ssl, n);
            return n == SSL_ERROR_WANT_READ || n == SSL_ERROR_WANT_WRITE ? NULL : &bad_tls;
        }
        if (SSL_session_reused(c->ssl))
            return &resumed;
        c->step = SENDING;
    }
    if (c->step == SENDING) {
        if (SSL_write(c->ssl, request, request_length) != request_length)
            return &bad_tls;
        c->step = READING;
    }
    while ((n = SSL_read(c->ssl, buffer, sizeof buffer)) > 0)
        if (!take(c, buffer, (size_t)n))
            return &bad_response;
    n = SSL_get_error(c->ssl, n);
    if (n == SSL_ERROR_WANT_READ)
        return NULL;
    return c->announced >= 0 && c->received == c->announced ? &good : &bad_response;
}

static int by_size(const void *a, const void *b) {
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    if (count != 5)
        die("usage: handshakes PORT PATH CONNECTIONS SECONDS");
    int connections = atoi(arguments[3]);
    double seconds = atof(arguments[4]);
    if (connections < 1 || connections > CONNECTIONS_MAX || seconds <= 0)
        die("CONNECTIONS is 1 to 1024, SECONDS more than 0");
    address.sin_port = htons((uint16_t)atoi(arguments[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                              arguments[2]);
    samples_us = calloc(SAMPLES_MAX, sizeof *samples_us);
    context = SSL_CTX_new(TLS_client_method());
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (!samples_us || !context || poller < 0)
        die("no memory");
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(context, "X25519");
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);

    long long start = now_ns(), stop = start + (long long)(seconds * 1e9), swept = start, now;
    for (int i = 0; i < connections; i++)
        begin(&clients[i]);
    struct epoll_event ready[256];
    while ((now = now_ns()) < stop) {
        int n = epoll_wait(poller, ready, 256, 100);
        for (int i = 0; i < n; i++) {
            struct client *c = ready[i].data.ptr;
            long *ended = go_on(c, ready[i].events);
            if (ended)
                end(c, ended);
        }
        for (int i = 0; now - swept > LATE_NS / 4 && i < connections; i++)
            if (now - clients[i].begun > LATE_NS)
                end(&clients[i], &late);
        if (now - swept > LATE_NS / 4)
            swept = now;
    }
    double took = (double)(now - start) / 1e9;
    size_t kept = (size_t)(good < SAMPLES_MAX ? good : SAMPLES_MAX);
    qsort(samples_us, kept, sizeof *samples_us, by_size);
    printf("{\"requests\": %ld, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"errors\": {\"connect\": %ld, "
           "\"tls\": %ld, \"response\": %ld, \"resumed\": %ld, \"timeout\": %ld}}\n",
           good, took, kept ? samples_us[kept / 2] : 0, kept ? samples_us[kept * 99 / 100] : 0, bad_connect, bad_tls,
           bad_response, resumed, late);
    return 0;
}
