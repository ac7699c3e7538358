/* Requests that come when they come, whether earlier ones were answered or not.
 *
 *   arrivals PORT RATE SECONDS WARM_SECONDS TIMEOUT_MS SEED
 *
 * Sends GET / to 127.0.0.1 RATE times a second, at random moments (Poisson), on connections that are kept; a new one is
 * made when none is free. What a request waits is counted from the moment at which it was due, so that neither this
 * program nor the proxy hides what it was late with. Those of the first WARM_SECONDS are not counted. A request that has
 * no answer after TIMEOUT_MS is given up, and counted with that time.
 *
 * Prints one line of JSON: answers by status class, what failed, and percentiles in microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 32768, HEAD_MAX = 8192, SAMPLES_MAX = 8 << 20, CLIENTS = 1000 };

struct client {
    long long due;            /* 0: free */
    unsigned long number;     /* of its request: those before it in the ring of time-outs are over */
    int length;               /* of out */
    int sent;
    size_t filled;
    char out[128];
    char head[HEAD_MAX + 1];
};

struct limit {
    int fd;
    unsigned long number;
    long long when;
};

static struct client *clients[FILES];
static int idle[FILES], idle_count, open_count;
static struct limit limits[1 << 20];
static unsigned long requests, first_limit;
static struct sockaddr_in address = {.sin_family = AF_INET};
static int poller;
static long long count_from, timeout_ns;
static unsigned *samples_us;
static long samples, by_class[6], broken, refused, timed_out, late_us_max;
static uint64_t seed;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static double chance(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return ((double)(seed >> 11) + 1) / 9007199254740993.0;
}

static void note(long long due, long *what) {
    if (due < count_from)
        return;
    ++*what;
    if (samples < SAMPLES_MAX)
        samples_us[samples++] = (unsigned)((now_ns() - due) / 1000);
}

static void forget(int fd) {
    free(clients[fd]);
    clients[fd] = NULL;
    open_count--;
    close(fd);
}

static void fail(int fd, long *what) {
    if (clients[fd]->due)
        note(clients[fd]->due, what);
    forget(fd);
}

static void send_rest(int fd) {
    struct client *c = clients[fd];
    ssize_t n = send(fd, c->out + c->sent, (size_t)(c->length - c->sent), MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != ENOTCONN && errno != EINPROGRESS)
            fail(fd, &broken);
        return;
    }
    c->sent += (int)n;
    if (c->sent == c->length) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
    }
}

static void begin(long long due) {
    int fd = -1, on = 1;
    while (idle_count && fd < 0) {
        fd = idle[--idle_count];
        if (!clients[fd] || clients[fd]->due)
            fd = -1; /* closed, or the number went to another connection */
    }
    if (fd < 0) {
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0 || fd >= FILES) {
            if (fd >= 0)
                close(fd);
            note(due, &refused);
            return;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connect(fd, (struct sockaddr *)&address, sizeof address);
        clients[fd] = calloc(1, sizeof *clients[fd]);
        open_count++;
        struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
    struct client *c = clients[fd];
    c->due = due;
    c->sent = 0;
    c->filled = 0;
    c->number = requests++;
    c->length = snprintf(c->out, sizeof c->out, "GET / HTTP/1.1\r\nhost: localhost\r\nx-user: user-%d\r\n\r\n",
                         (int)(chance() * CLIENTS));
    limits[c->number % (sizeof limits / sizeof *limits)] = (struct limit){fd, c->number, due + timeout_ns};
    send_rest(fd);
}

static void on_readable(int fd) {
    struct client *c = clients[fd];
    ssize_t n = recv(fd, c->head + c->filled, HEAD_MAX - c->filled, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail(fd, &broken);
        return;
    }
    c->filled += (size_t)n;
    c->head[c->filled] = 0;
    char *end = strstr(c->head, "\r\n\r\n"), *announced = strcasestr(c->head, "\r\ncontent-length:");
    if (!end) {
        if (c->filled == HEAD_MAX)
            fail(fd, &broken);
        return;
    }
    if (!announced || announced > end) {
        fail(fd, &broken);
        return;
    }
    if (c->filled < (size_t)(end + 4 - c->head) + strtoul(announced + 17, NULL, 10))
        return;
    int class = c->filled > 9 ? c->head[9] - '0' : 0;
    char *closes = strcasestr(c->head, "\r\nconnection: close");
    note(c->due, &by_class[class >= 1 && class <= 5 ? class : 0]);
    c->due = 0;
    if (closes && closes < end)
        forget(fd);
    else
        idle[idle_count++] = fd;
    if (idle_count == FILES)
        idle_count = 0; /* full of numbers that are stale; the connections are found closed in time */
}

static void give_up(long long now) {
    for (; first_limit < requests; first_limit++) {
        struct limit *l = &limits[first_limit % (sizeof limits / sizeof *limits)];
        struct client *c = clients[l->fd];
        if (c && c->due && c->number == l->number) {
            if (l->when > now)
                return;
            fail(l->fd, &timed_out);
        }
    }
}

static int by_size(const void *one, const void *other) {
    unsigned a = *(const unsigned *)one, b = *(const unsigned *)other;
    return (a > b) - (a < b);
}

static unsigned percentile(double share) {
    return samples ? samples_us[(long)(share * (double)(samples - 1))] : 0;
}

int main(int count, char **arguments) {
    if (count != 7) {
        fprintf(stderr, "usage: arrivals PORT RATE SECONDS WARM_SECONDS TIMEOUT_MS SEED\n");
        return 2;
    }
    double rate = atof(arguments[2]), seconds = atof(arguments[3]), warm = atof(arguments[4]);
    address.sin_port = htons((uint16_t)atoi(arguments[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    timeout_ns = atoll(arguments[5]) * 1000000;
    seed = strtoull(arguments[6], NULL, 10) * 2654435769u + 88172645463325252u;
    samples_us = malloc(sizeof *samples_us * SAMPLES_MAX);
    poller = epoll_create1(EPOLL_CLOEXEC);
    long long begun = now_ns(), last = begun + (long long)((warm + seconds) * 1e9), due = begun;
    count_from = begun + (long long)(warm * 1e9);
    long under_way = 1;
    while (due < last || (under_way && now_ns() < last + timeout_ns + 1000000000)) {
        long long now = now_ns();
        while (due <= now && due < last) {
            if ((now - due) / 1000 > late_us_max && due >= count_from)
                late_us_max = (long)((now - due) / 1000);
            begin(due);
            due += (long long)(-log(chance()) / rate * 1e9);
        }
        long long wait = due < last ? due - now_ns() : 10000000;
        if (wait < 0)
            wait = 0;
        struct timespec time = {wait / 1000000000, wait % 1000000000};
        struct epoll_event ready[256];
        int n = epoll_pwait2(poller, ready, 256, &time, NULL);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (!clients[fd])
                continue;
            if (ready[i].events & EPOLLOUT && clients[fd]->sent < clients[fd]->length)
                send_rest(fd);
            if (clients[fd] && ready[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                on_readable(fd);
        }
        give_up(now_ns());
        under_way = 0;
        for (int fd = 0; due >= last && fd < FILES && !under_way; fd++)
            under_way = clients[fd] && clients[fd]->due;
    }
    qsort(samples_us, (size_t)samples, sizeof *samples_us, by_size);
    printf("{\"ok\": %ld, \"redirects\": %ld, \"client_errors\": %ld, \"server_errors\": %ld, \"odd\": %ld, \"broken\": %ld, "
           "\"refused\": %ld, \"timed_out\": %ld, \"p50\": %u, \"p90\": %u, \"p99\": %u, \"p999\": %u, \"late_max\": %ld, "
           "\"connections\": %d}\n",
           by_class[2], by_class[3], by_class[4], by_class[5], by_class[0] + by_class[1], broken, refused, timed_out,
           percentile(0.5), percentile(0.9), percentile(0.99), percentile(0.999), late_us_max, open_count);
    return 0;
}
