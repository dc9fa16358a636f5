# shellcheck shell=bash
# Writes every configuration file of the lab under run/etc. Called by: up, each time (they hold no state).

database() { echo "mysql+pymysql://root:$PASSWORD@$IP:$MYSQL_PORT/$1?charset=utf8"; }

credentials() { # user
    cat <<-CONF
	auth_url = http://$IP:5000/v3
	auth_type = password
	project_domain_name = Default
	user_domain_name = Default
	project_name = service
	username = $1
	password = $PASSWORD
	region_name = RegionOne
	CONF
}

common() { # user: what every API of OpenStack wants to be told
    cat <<-CONF
	[keystone_authtoken]
	www_authenticate_uri = http://$IP:5000
	memcached_servers = $IP:$MEMCACHED_PORT
	service_token_roles = service
	service_token_roles_required = true
	$(credentials "$1")
	[oslo_messaging_rabbit]
	heartbeat_in_pthread = false
	heartbeat_timeout_threshold = 0
	[oslo_messaging_notifications]
	driver = noop
	[oslo_concurrency]
	lock_path = $RUN/locks
	[oslo_middleware]
	enable_proxy_headers_parsing = false
	CONF
}

pool() { # database
    printf 'connection = %s\nmax_pool_size = 10\nmax_overflow = 50\n' "$(database "$1")"
}

write_configs() {
    local etc=$RUN/etc
    umask 077
    mkdir -p "$etc"
    config_base "$etc"
    config_keystone >"$etc/keystone.conf"
    config_glance >"$etc/glance-api.conf"
    config_placement >"$etc/placement.conf"
    config_nova >"$etc/nova.conf"
    config_nova_hosts "$etc"
    config_neutron >"$etc/neutron.conf"
    config_agents "$etc"
    config_cinder >"$etc/cinder.conf"
    umask 022
}

config_base() { # directory: MariaDB, RabbitMQ, clouds.yaml
    # A socket's path may not be long, so it is given relative to the data directory.
    cat >"$1/my.cnf" <<-CONF
	[mysqld]
	user = root
	datadir = $RUN/mysql
	socket = mysql.sock
	pid-file = $RUN/mariadbd.pid
	init-file = $RUN/etc/databases.sql
	bind-address = $IP
	port = $MYSQL_PORT
	skip-name-resolve
	skip-log-bin
	max_connections = 1000
	innodb_flush_log_at_trx_commit = 0
	innodb_doublewrite = 0
	innodb_buffer_pool_size = 256M
	innodb_log_file_size = 64M
	innodb_flush_method = nosync
	performance_schema = 0
	CONF
    {
        echo "create user if not exists root@'$IP';"
        echo "alter user root@'$IP' identified by '$PASSWORD';"
        echo "drop user if exists root@'localhost';"
        echo "drop user if exists root@'::1';"
        echo "grant all on *.* to root@'$IP' with grant option;"
        for name in keystone glance placement nova_api nova nova_cell0 neutron cinder; do
            echo "create database if not exists $name character set utf8;"
        done
    } >"$1/databases.sql"
    printf '[client]\nuser = root\npassword = %s\nhost = %s\nport = %s\nprotocol = tcp\n' "$PASSWORD" "$IP" "$MYSQL_PORT" >"$1/client.cnf"
    : >"$1/rabbitmq-env.conf"
    echo '[].' >"$1/rabbitmq-plugins"
    cat >"$1/rabbitmq.conf" <<-CONF
	listeners.tcp.1 = $IP:$RABBIT_PORT
	default_user = guiyun
	default_pass = $PASSWORD
	vm_memory_high_watermark.absolute = 2GB
	disk_free_limit.absolute = 50MB
	CONF
    cat >"$LAB_HOME/clouds.yaml" <<-CONF
	clouds:
	  guiyun-lab:
	    region_name: RegionOne
	    identity_api_version: 3
	    auth:
	      auth_url: http://$IP:5000/v3
	      username: admin
	      password: $PASSWORD
	      project_name: admin
	      user_domain_name: Default
	      project_domain_name: Default
	CONF
}

config_keystone() {
    cat <<-CONF
	[DEFAULT]
	log_file = $RUN/log/keystone.log
	[database]
	$(pool keystone)
	[token]
	provider = fernet
	expiration = 86400
	[fernet_tokens]
	key_repository = $RUN/keys/fernet
	[credential]
	key_repository = $RUN/keys/credential
	[identity]
	password_hash_rounds = 4
	[cache]
	enabled = true
	backend = dogpile.cache.memcached
	memcache_servers = $IP:$MEMCACHED_PORT
	[oslo_messaging_notifications]
	driver = noop
	CONF
}

config_glance() {
    cat <<-CONF
	[DEFAULT]
	bind_host = $IP
	bind_port = 9292
	workers = 1
	transport_url = $RABBIT
	enabled_backends = file:file
	node_staging_uri = file://$RUN/glance/staging
	image_cache_dir = $RUN/glance/cache
	[glance_store]
	default_backend = file
	[file]
	filesystem_store_datadir = $RUN/glance/images
	[os_glance_staging_store]
	filesystem_store_datadir = $RUN/glance/staging
	[os_glance_tasks_store]
	filesystem_store_datadir = $RUN/glance/tasks
	[paste_deploy]
	flavor = keystone
	config_file = /etc/glance/glance-api-paste.ini
	[database]
	$(pool glance)
	$(common glance)
	CONF
}

config_placement() {
    cat <<-CONF
	[DEFAULT]
	log_file = $RUN/log/placement.log
	[api]
	auth_strategy = keystone
	[placement_database]
	$(pool placement)
	$(common placement)
	CONF
}

config_nova() {
    cat <<-CONF
	[DEFAULT]
	my_ip = $IP
	state_path = $RUN/nova
	transport_url = $RABBIT
	enabled_apis = osapi_compute
	osapi_compute_listen = $IP
	osapi_compute_workers = 2
	allow_resize_to_same_host = true
	sync_power_state_interval = -1
	heal_instance_info_cache_interval = -1
	running_deleted_instance_poll_interval = 0
	shelved_poll_interval = 0
	resize_confirm_window = 0
	max_concurrent_builds = 20
	force_config_drive = false
	[api]
	auth_strategy = keystone
	[api_database]
	$(pool nova_api)
	[database]
	$(pool nova)
	[conductor]
	workers = 1
	[scheduler]
	workers = 1
	discover_hosts_in_cells_interval = 15
	# A server whose image asks for real hardware goes to the real host, and no other goes there.
	enable_isolated_aggregate_filtering = true
	[filter_scheduler]
	track_instance_changes = false
	[vnc]
	enabled = false
	[glance]
	api_servers = http://$IP:9292
	[placement]
	$(credentials nova)
	[neutron]
	$(credentials nova)
	[cinder]
	os_region_name = RegionOne
	catalog_info = volumev3::publicURL
	$(credentials nova)
	[service_user]
	send_service_user_token = true
	$(credentials nova)
	$(common nova)
	CONF
}

config_nova_hosts() { # directory: what differs between the two compute hosts
    cat >"$1/nova-fake.conf" <<-CONF
	[DEFAULT]
	host = $FAKE_HOST
	compute_driver = guiyun_fake.FakeDriver
	instances_path = $RUN/nova/fake
	vif_plugging_is_fatal = false
	vif_plugging_timeout = 0
	CONF
    cat >"$1/nova-real.conf" <<-CONF
	[DEFAULT]
	host = $REAL_HOST
	compute_driver = libvirt.LibvirtDriver
	instances_path = $RUN/nova/real
	vif_plugging_is_fatal = true
	vif_plugging_timeout = 120
	reserved_host_memory_mb = 0
	[libvirt]
	# Software emulation: /dev/kvm may exist and still not boot a guest.
	virt_type = qemu
	cpu_mode = none
	connection_uri = $LIBVIRT_URI
	CONF
}

config_neutron() {
    cat <<-CONF
	[DEFAULT]
	host = $REAL_HOST
	bind_host = $IP
	state_path = $RUN/neutron
	transport_url = $RABBIT
	core_plugin = ml2
	service_plugins = router,qos
	auth_strategy = keystone
	api_paste_config = /etc/neutron/api-paste.ini
	api_workers = 2
	rpc_workers = 1
	rpc_state_report_workers = 0
	# Addresses come by SLAAC from the router; no DHCP agent runs.
	dhcp_agent_notification = false
	notify_nova_on_port_status_changes = true
	notify_nova_on_port_data_changes = true
	send_events_interval = 1
	global_physnet_mtu = 1500
	[nova]
	$(credentials nova)
	[placement]
	$(credentials neutron)
	[experimental]
	linuxbridge = true
	[database]
	$(pool neutron)
	[quotas]
	default_router = 100
	default_network = 200
	default_subnet = 200
	default_port = 1000
	[agent]
	root_helper =
	use_helper_for_ns_read = false
	[ml2]
	type_drivers = flat,local,vxlan
	tenant_network_types = local
	mechanism_drivers = linuxbridge,guiyun_fake
	extension_drivers = port_security,qos
	[ml2_type_flat]
	flat_networks = extranet
	[securitygroup]
	enable_ipset = false
	$(common neutron)
	CONF
}

config_agents() { # directory
    local firewall=noop secure=false
    # Security groups are real where bridges pass their packets to ip6tables.
    [ -e /proc/sys/net/bridge/bridge-nf-call-ip6tables ] && firewall=iptables secure=true
    cat >"$1/linuxbridge.ini" <<-CONF
	[linux_bridge]
	bridge_mappings = extranet:$BRIDGE
	[vxlan]
	enable_vxlan = false
	[securitygroup]
	firewall_driver = $firewall
	enable_security_group = $secure
	enable_ipset = false
	[agent]
	polling_interval = 1
	CONF
    cat >"$1/l3.ini" <<-CONF
	[DEFAULT]
	interface_driver = linuxbridge
	agent_mode = legacy
	enable_metadata_proxy = false
	CONF
    cat >"$1/libvirtd.conf" <<-CONF
	unix_sock_dir = "$RUN/libvirt/run"
	unix_sock_rw_perms = "0700"
	auth_unix_rw = "none"
	auth_unix_ro = "none"
	log_outputs = "3:file:$RUN/log/libvirtd.log"
	CONF
    cat >"$1/qemu.conf" <<-CONF
	user = "root"
	group = "root"
	security_driver = "none"
	stdio_handler = "file"
	namespaces = []
	cgroup_controllers = []
	remember_owner = 0
	CONF
}

config_cinder() {
    local class
    cat <<-CONF
	[DEFAULT]
	host = guiyun
	my_ip = $IP
	state_path = $RUN/cinder
	image_conversion_dir = $RUN/cinder/conversion
	transport_url = $RABBIT
	auth_strategy = keystone
	api_paste_config = /etc/cinder/api-paste.ini
	osapi_volume_listen = $IP
	osapi_volume_workers = 1
	enabled_backends = ssd,hdd
	glance_api_servers = http://$IP:9292
	rootwrap_config = /etc/cinder/rootwrap.conf
	resource_query_filters_file = /etc/cinder/resource_filters.json
	default_volume_type = hdd
	# Backends tell the scheduler at once what they hold, not up to a minute after they started.
	periodic_fuzzy_delay = 0
	backend_stats_polling_interval = 10
	[database]
	$(pool cinder)
	[nova]
	interface = public
	$(credentials nova)
	[service_user]
	send_service_user_token = true
	$(credentials cinder)
	[coordination]
	backend_url = file://$RUN/locks
	CONF
    for class in ssd hdd; do
        cat <<-CONF
		[$class]
		volume_backend_name = $class
		volume_driver = guiyun_lab.cinder_driver.FileVolumeDriver
		guiyun_directory = $RUN/cinder/$class
		guiyun_capacity_gib = 20000
		volume_clear = none
		CONF
    done
    common cinder
}
