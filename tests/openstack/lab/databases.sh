# shellcheck shell=bash
# MariaDB with a data directory of its own, and the migrated, empty databases (kept as a template: the migrations take a minute).
# Called by: up, after the configurations are written.

# The template fits only the packages whose migrations made it.
template() {
    local version
    version=$(dpkg-query -W keystone-common python3-keystone nova-common neutron-common cinder-common glance-common placement-common \
        mariadb-server 2>/dev/null | cat - "$LAB_HOME/password" | sha256sum | cut -c1-12)
    echo "$CACHE/databases-$version.tar"
}

start_mariadb() {
    start mariadb mariadbd --defaults-file="$RUN/etc/my.cnf"
    await 60 MariaDB mariadb mariadb --defaults-file="$RUN/etc/client.cnf" -e 'select 1'
}

stop_mariadb() {
    local pid _
    read -r pid _ <"$RUN/pid/mariadb"
    kill "$pid"
    while live "$pid"; do sleep 0.1; done
    rm -f "$RUN/pid/mariadb"
}

prepare_databases() {
    local saved
    saved=$(template)
    if [ -d "$RUN/mysql" ] && [ -e "$RUN/databases.done" ]; then
        start_mariadb
        say "MariaDB is up"
        return
    fi
    rm -rf "$RUN/mysql"
    if [ -s "$saved" ]; then
        tar -C "$RUN" -xf "$saved"
        start_mariadb
        say "MariaDB is up, with the migrated databases of the template"
    else
        mariadb-install-db --defaults-file="$RUN/etc/my.cnf" --auth-root-authentication-method=normal --skip-test-db >"$RUN/log/mariadb-install.out" 2>&1
        start_mariadb
        say "MariaDB is up; migrating databases (only the first time)"
        migrate
        mkdir -p "$CACHE"
        stop_mariadb
        rm -f "$CACHE"/databases-*.tar
        tar -C "$RUN" --sparse -cf "$saved.part" mysql keys
        mv "$saved.part" "$saved"
        start_mariadb
        say "databases migrated; template kept"
    fi
    touch "$RUN/databases.done"
}

migrate() {
    local log=$RUN/log etc=$RUN/etc neutron nova
    "$PY" /usr/bin/neutron-db-manage --config-file "$etc/neutron.conf" upgrade heads >"$log/migrate-neutron.out" 2>&1 &
    neutron=$!
    (
        set -e
        nova-manage --config-file "$etc/nova.conf" api_db sync
        nova-manage --config-file "$etc/nova.conf" cell_v2 map_cell0 --database_connection "$(database nova_cell0)"
        nova-manage --config-file "$etc/nova.conf" db sync
        nova-manage --config-file "$etc/nova.conf" cell_v2 create_cell --name cell1 --database_connection "$(database nova)" --transport-url "$RABBIT"
    ) >"$log/migrate-nova.out" 2>&1 &
    nova=$!
    (
        set -e
        keystone-manage --config-file "$etc/keystone.conf" db_sync
        keystone-manage --config-file "$etc/keystone.conf" fernet_setup --keystone-user root --keystone-group root
        keystone-manage --config-file "$etc/keystone.conf" credential_setup --keystone-user root --keystone-group root
        OS_BOOTSTRAP_PASSWORD=$PASSWORD keystone-manage --config-file "$etc/keystone.conf" bootstrap --bootstrap-username admin \
            --bootstrap-project-name admin --bootstrap-role-name admin --bootstrap-service-name keystone --bootstrap-region-id RegionOne \
            --bootstrap-admin-url "http://$IP:5000/v3" --bootstrap-public-url "http://$IP:5000/v3" --bootstrap-internal-url "http://$IP:5000/v3"
        glance-manage --config-file "$etc/glance-api.conf" db_sync
        placement-manage --config-file "$etc/placement.conf" db sync
        cinder-manage --config-file "$etc/cinder.conf" db sync
    ) >"$log/migrate-others.out" 2>&1 || die "a migration failed; see $log/migrate-others.out"
    wait $nova || die "nova's migration failed; see $log/migrate-nova.out"
    wait $neutron || die "neutron's migration failed; see $log/migrate-neutron.out"
}
