/* Backends that take their time: several in one process, each with a few servers and a queue before them.
 *
 *   backends SERVERS QUEUE MEAN_US TIMES SEED BACKEND...      where BACKEND is PORT[:SLOW[:ERRORS]]
 *
 * In: GET requests without a body, on 127.0.0.1, over HTTP/1.1 connections that are kept. Each backend works on SERVERS
 * requests at a time, others wait; with QUEUE waiting a request is answered 503 at once. A request takes MEAN_US, always
 * (TIMES is "constant") or on average ("exponential"), SLOW times that on a slow backend; of ERRORS in a thousand the
 * answer is 500. /count answers at once how many requests the backend has had.
 *
 * One thread, one epoll, one heap of ends. A head of at most 16 KiB, one request at a time on a connection.
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

enum { HEAD_MAX = 16384, FILES = 65536, BACKENDS = 64, WAITING_MAX = 4096 };

struct connection {
    int backend;     /* whose; of a listening socket too */
    int listening;
    int working;     /* a request is in service or waits */
    int gone;        /* closed by the other side meanwhile */
    size_t filled;
    char head[HEAD_MAX + 1];
};

struct backend {
    double slow, errors;
    int busy, waiting, first;      /* a ring of connections that wait */
    int queue[WAITING_MAX];
    unsigned long served;
};

struct end {
    long long when;
    int fd;
};

static struct connection *connections[FILES];
static struct backend backends[BACKENDS];
static struct end heap[FILES];
static int ends, poller, servers, queue_max, constant;
static double mean_ns;
static uint64_t seed;

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Between 0 and 1, without 0 (xorshift). */
static double chance(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return ((double)(seed >> 11) + 1) / 9007199254740993.0;
}

static void push(struct end end) {
    int at = ends++;
    for (; at && heap[(at - 1) / 2].when > end.when; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = end;
}

static struct end pop(void) {
    struct end first = heap[0], last = heap[--ends];
    int at = 0;
    for (;;) {
        int child = 2 * at + 1;
        if (child >= ends)
            break;
        if (child + 1 < ends && heap[child + 1].when < heap[child].when)
            child++;
        if (heap[child].when >= last.when)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return first;
}

static void forget(int fd) {
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd); /* epoll forgets it by itself */
}

static void serve(int fd) {
    struct backend *b = &backends[connections[fd]->backend];
    b->busy++;
    double times = constant ? 1 : -log(chance());
    push((struct end){now_ns() + (long long)(times * mean_ns * b->slow), fd});
}

/* A response that always fits into the socket: one at a time, and small. */
static void respond(int fd, int status, const char *body) {
    char text[512];
    const char *reason = status == 200 ? "OK" : status == 500 ? "Internal Server Error" : "Service Unavailable";
    int n = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %zu\r\n\r\n%s",
                     status, reason, strlen(body), body);
    if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
        connections[fd]->gone = 1;
}

/* Takes the request that lies in the buffer, when there is one. */
static void take(int fd) {
    struct connection *c = connections[fd];
    struct backend *b = &backends[c->backend];
    char *end;
    while (!c->working && (end = memmem(c->head, c->filled, "\r\n\r\n", 4))) {
        size_t length = (size_t)(end - c->head) + 4;
        int count = strncmp(c->head, "GET /count ", 11) == 0;
        c->filled -= length;
        memmove(c->head, c->head + length, c->filled);
        if (count) {
            char line[32];
            snprintf(line, sizeof line, "%lu\n", b->served);
            respond(fd, 200, line);
            continue;
        }
        b->served++;
        if (b->busy < servers) {
            c->working = 1;
            serve(fd);
        } else if (b->waiting < queue_max) {
            c->working = 1;
            b->queue[(b->first + b->waiting++) % WAITING_MAX] = fd;
        } else {
            respond(fd, 503, "full\n");
        }
    }
}

/* A request is done; the next that waits for this backend begins. Work for those who left is done all the same. */
static void finish(int fd) {
    struct connection *c = connections[fd];
    struct backend *b = &backends[c->backend];
    b->busy--;
    if (b->waiting) {
        int next = b->queue[b->first];
        b->first = (b->first + 1) % WAITING_MAX;
        b->waiting--;
        serve(next);
    }
    c->working = 0;
    if (!c->gone)
        respond(fd, chance() < b->errors ? 500 : 200, "done\n");
    if (c->gone)
        forget(fd);
    else
        take(fd);
}

static void on_readable(int fd) {
    struct connection *c = connections[fd];
    ssize_t n = recv(fd, c->head + c->filled, HEAD_MAX - c->filled, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (c->filled += (size_t)n) == HEAD_MAX) {
        if (!c->working) {
            forget(fd);
            return;
        }
        c->gone = 1;
        epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
        return;
    }
    take(fd);
}

static void add(int fd, int backend, int listening) {
    struct connection *c = fd < FILES ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    c->backend = backend;
    c->listening = listening;
    connections[fd] = c;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int listening) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        add(fd, connections[listening]->backend, 0);
    }
}

static int listen_on(int port) {
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        perror("backends: listen");
        exit(1);
    }
    return fd;
}

int main(int count, char **arguments) {
    if (count < 7 || count > 6 + BACKENDS) {
        fprintf(stderr, "usage: backends SERVERS QUEUE MEAN_US exponential|constant SEED PORT[:SLOW[:ERRORS]]...\n");
        return 2;
    }
    servers = atoi(arguments[1]);
    queue_max = atoi(arguments[2]) < WAITING_MAX ? atoi(arguments[2]) : WAITING_MAX;
    mean_ns = atof(arguments[3]) * 1000;
    constant = strcmp(arguments[4], "constant") == 0;
    seed = strtoull(arguments[5], NULL, 10) * 2654435769u + 88172645463325252u;
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 6; i < count; i++) {
        int port = 0;
        double slow = 1, errors = 0;
        sscanf(arguments[i], "%d:%lf:%lf", &port, &slow, &errors);
        backends[i - 6].slow = slow;
        backends[i - 6].errors = errors / 1000;
        add(listen_on(port), i - 6, 1);
    }
    for (;;) {
        struct epoll_event ready[256];
        long long wait = ends ? heap[0].when - now_ns() : 1000000000;
        if (wait < 0)
            wait = 0;
        struct timespec time = {wait / 1000000000, wait % 1000000000};
        int n = epoll_pwait2(poller, ready, 256, &time, NULL);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (!connections[fd])
                continue; /* forgotten earlier in this round */
            if (connections[fd]->listening)
                accept_all(fd);
            else
                on_readable(fd);
        }
        long long now = now_ns();
        while (ends && heap[0].when <= now)
            finish(pop().fd);
    }
}
