/* The origin behind the proxies: as little work as an HTTP/1.1 keep-alive server can do.
 *
 *   origin PORT [everywhere]
 *
 * In: GET requests without a body, on 127.0.0.1; or at all addresses of this machine, of which 127.0.0.0/8 has many.
 *   /128, /1024, /102400, any number   that many bytes
 *   /kept/128 and so on                the same, with leave to keep it for an hour
 *   /varied/128 and so on              that too, and another one for each Accept-Language
 *   /json/51200, /kept-json/51200      a list of that length in JSON, and one with leave to keep it
 *   /echo                              the request head as it arrived: shows what a proxy sends
 *   /count                             "CONNECTIONS REQUESTS" so far: shows whether a proxy keeps connections
 * One thread and one epoll. A response is made once for each size and then only written.
 *
 * SIGTERM ends it politely: it stops listening (SO_REUSEPORT lets a successor listen before), closes connections that
 * wait for a request, and the others after their response.
 *
 * Limits: a head of at most 16 KiB, one response at a time on a connection, bodies up to 16 MiB.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, BODY_MAX = 16 << 20, SIZES = 8, FILES = 65536 };

struct response {
    long size;
    int kept;
    char *bytes;
    size_t length;
};

struct connection {
    size_t filled;           /* of head */
    const char *out;         /* what is still to be written */
    size_t out_length;
    char *own;               /* freed after the response, when it was made for this request only */
    char head[HEAD_MAX + 1];
};

static struct connection *connections[FILES];
static struct response responses[SIZES];
static unsigned long accepted, served;
static int poller, listening = -1;
static volatile sig_atomic_t stopping;

static void on_term(int signal) {
    (void)signal;
    stopping = 1;
}

/* What the response says of being kept, by `kept`. */
static const char *const LEAVES[] = {"", "cache-control: max-age=3600\r\n",
                                     "cache-control: max-age=3600\r\nvary: accept-language\r\n",
                                     "", "cache-control: max-age=3600\r\n"};
/* What comes before the size in paths, likewise. */
static const char *const PATHS[] = {"", "kept/", "varied/", "json/", "kept-json/"};

static int is_json(int kept) {
    return kept >= 3;
}

/* A list of people, no two alike and every time the same, with blanks up to the size. */
static void fill_json(char *to, size_t size) {
    static const char *const names[] = {"Anna", "Bert", "Carla", "Dora", "Emil", "Frida", "Gustav", "Hanna", "Ivan", "Julia"};
    static const char *const cities[] = {"Berlin", "Hamburg", "Leipzig", "Stuttgart", "Dresden", "Frankfurt"};
    unsigned long random = 1;
    size_t filled = 0;
    memset(to, ' ', size);
    while (filled + 300 < size) {
        char row[256];
        unsigned long draws[6];
        for (int i = 0; i < 6; i++)
            draws[i] = (random = random * 6364136223846793005UL + 1442695040888963407UL) >> 33;
        int n = snprintf(row, sizeof row,
                         "{\"id\":%lu,\"name\":\"%s\",\"city\":\"%s\",\"active\":%s,\"balance\":%lu.%02lu,"
                         "\"created\":\"2026-%02lu-%02luT%02lu:%02lu:00Z\"}",
                         draws[0], names[draws[1] % 10], cities[draws[2] % 6], draws[3] % 3 ? "true" : "false",
                         draws[4] % 10000, draws[4] / 10000 % 100, draws[5] % 12 + 1, draws[5] / 12 % 28 + 1,
                         draws[5] / 336 % 24, draws[5] / 8064 % 60);
        to[filled] = filled ? ',' : '[';
        memcpy(to + filled + 1, row, (size_t)n);
        filled += (size_t)n + 1;
    }
    if (size)
        to[size - 1] = ']';
}

static size_t make_head(char *to, size_t room, long length, int kept) {
    return (size_t)snprintf(to, room,
                            "HTTP/1.1 200 OK\r\ncontent-type: application/%s\r\ncontent-length: %ld\r\n%s%s\r\n",
                            is_json(kept) ? "json" : "octet-stream", length, LEAVES[kept], stopping ? "connection: close\r\n" : "");
}

/* The response of `size` bytes; kept for the next time while there is room, else `own` says to free it. */
static struct response sized(long size, int kept, char **own) {
    for (int i = 0; !stopping && i < SIZES && responses[i].bytes; i++)
        if (responses[i].size == size && responses[i].kept == kept)
            return responses[i];
    struct response made = {size, kept, malloc((size_t)size + 256), 0};
    if (!made.bytes)
        abort();
    made.length = make_head(made.bytes, 256, size, kept);
    if (is_json(kept))
        fill_json(made.bytes + made.length, (size_t)size);
    else
        memset(made.bytes + made.length, 'x', (size_t)size);
    made.length += (size_t)size;
    for (int i = 0; !stopping && i < SIZES; i++)
        if (!responses[i].bytes) {
            responses[i] = made;
            return made;
        }
    *own = made.bytes;
    return made;
}

static struct response text(const char *body, size_t length, char **own) {
    struct response made = {0, 0, malloc(length + 256), 0};
    if (!made.bytes)
        abort();
    made.length = make_head(made.bytes, 256, (long)length, 0);
    memcpy(made.bytes + made.length, body, length);
    made.length += length;
    *own = made.bytes;
    return made;
}

static void forget(int fd) {
    free(connections[fd]->own);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd); /* epoll forgets it by itself */
}

static void want(int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
}

/* Writes what is left. 1: all is written; 0: the socket is full; -1: the connection is gone. */
static int flush(int fd) {
    struct connection *c = connections[fd];
    while (c->out_length) {
        ssize_t n = send(fd, c->out, c->out_length, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                return 0;
            forget(fd);
            return -1;
        }
        c->out += n;
        c->out_length -= (size_t)n;
    }
    free(c->own);
    c->own = NULL;
    if (stopping) {
        forget(fd);
        return -1;
    }
    return 1;
}

/* Answers the requests that lie in the buffer, until one does not fit into the socket. */
static void answer(int fd) {
    struct connection *c = connections[fd];
    char *end;
    while ((end = memmem(c->head, c->filled, "\r\n\r\n", 4))) {
        size_t length = (size_t)(end - c->head) + 4;
        if (strncmp(c->head, "GET /", 5) != 0) {
            forget(fd);
            return;
        }
        struct response response;
        const char *path = c->head + 5;
        if (strncmp(path, "echo", 4) == 0) {
            response = text(c->head, length, &c->own);
        } else if (strncmp(path, "count", 5) == 0) {
            char line[64];
            int n = snprintf(line, sizeof line, "%lu %lu\n", accepted, served);
            response = text(line, (size_t)n, &c->own);
        } else {
            int kept = (int)(sizeof PATHS / sizeof *PATHS) - 1;
            while (strncmp(path, PATHS[kept], strlen(PATHS[kept])) != 0)
                kept--;
            long size = atol(path + strlen(PATHS[kept]));
            response = sized(size < 0 || size > BODY_MAX ? 0 : size, kept, &c->own);
        }
        served++;
        c->out = response.bytes;
        c->out_length = response.length;
        c->filled -= length;
        memmove(c->head, c->head + length, c->filled);
        c->head[c->filled] = 0;
        int done = flush(fd);
        if (done < 0)
            return;
        if (done == 0) {
            want(fd, EPOLLOUT);
            return;
        }
    }
    if (c->filled == HEAD_MAX)
        forget(fd);
}

static void on_readable(int fd) {
    struct connection *c = connections[fd];
    ssize_t n = recv(fd, c->head + c->filled, HEAD_MAX - c->filled, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        forget(fd);
        return;
    }
    c->filled += (size_t)n;
    c->head[c->filled] = 0;
    answer(fd);
}

static void on_writable(int fd) {
    if (flush(fd) > 0) {
        want(fd, EPOLLIN);
        answer(fd);
    }
}

static void accept_all(void) {
    int fd, on = 1;
    while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *c = fd < FILES ? malloc(sizeof *c) : NULL;
        if (!c) {
            close(fd);
            continue;
        }
        c->filled = c->out_length = 0;
        c->own = NULL;
        connections[fd] = c;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        accepted++;
    }
}

/* Once, after SIGTERM. Says whether anything is still open. */
static int stop(void) {
    int open = 0;
    if (listening >= 0) {
        accept_all();
        close(listening);
        listening = -1;
        for (int fd = 0; fd < FILES; fd++)
            if (connections[fd] && !connections[fd]->out_length)
                on_readable(fd); /* a request may have arrived just now */
        for (int fd = 0; fd < FILES; fd++)
            if (connections[fd] && !connections[fd]->out_length && !connections[fd]->filled)
                forget(fd);
    }
    for (int fd = 0; fd < FILES; fd++)
        open += connections[fd] != NULL;
    return open;
}

int main(int count, char **arguments) {
    int port = count >= 2 ? atoi(arguments[1]) : 0, on = 1;
    int everywhere = count == 3 && !strcmp(arguments[2], "everywhere");
    if (port <= 0 || port > 65535 || count > 3 || (count == 3 && !everywhere)) {
        fprintf(stderr, "usage: origin PORT [everywhere]\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(everywhere ? INADDR_ANY : INADDR_LOOPBACK)};
    listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listening, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096)) {
        perror("origin: listen");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, ready[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listening, &event);
    while (!stopping || stop()) {
        int n = epoll_wait(poller, ready, 256, stopping ? 100 : 1000);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listening)
                accept_all();
            else if (!connections[fd])
                continue; /* forgotten earlier in this round */
            else if (ready[i].events & EPOLLOUT)
                on_writable(fd);
            else
                on_readable(fd);
        }
    }
    return 0;
}
