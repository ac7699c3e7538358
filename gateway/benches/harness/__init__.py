"""What `compare` and `soak` are made of.

    install      what must be on the machine, and how it gets there
    machine      cores, ports, certificates, CPU time and memory of processes
    children     processes that are started, pinned, and certainly ended
    contestants  one class for each proxy: its configuration and how it is started
    load         wrk, h2load and our own programs in C: load on a proxy, and what came of it
    workloads    what is measured
    measure      the rounds
    explain      system calls and user/system time behind a figure
    report       tables, Markdown, JSON
"""
